//! Sends requests in the background while a test changes the mesh.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;

use crate::browser::{Browser, Page};

/// The results of many requests.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    /// Responses with status 200, counted by the result of `name`.
    pub by_name: BTreeMap<String, u64>,
    /// All other results, counted by reason.
    pub failures: BTreeMap<String, u64>,
}

impl Tally {
    /// The number of successful responses.
    pub fn good(&self) -> u64 {
        self.by_name.values().sum()
    }

    /// The share of successful responses with this name, in percent.
    pub fn percent(&self, name: &str) -> f64 {
        100.0 * self.by_name.get(name).copied().unwrap_or_default() as f64 / self.good() as f64
    }

    /// Fails the test if a request failed, or if none was sent.
    #[track_caller]
    pub fn all_good(&self) -> &Self {
        assert!(self.failures.is_empty() && self.good() > 0, "requests failed: {self:?}");
        self
    }

    fn count(&mut self, response: Result<Page, String>, name: Name) {
        match response {
            Ok(page) if page.status == 200 => *self.by_name.entry(name(&page.text)).or_default() += 1,
            Ok(page) => {
                let start: String = page.text.chars().take(120).collect();
                *self.failures.entry(format!("{}: {start}", page.status)).or_default() += 1;
            }
            Err(reason) => *self.failures.entry(reason).or_default() += 1,
        }
    }

    fn add(&mut self, other: Self) {
        for (all, more) in [(&mut self.by_name, other.by_name), (&mut self.failures, other.failures)] {
            for (name, count) in more {
                *all.entry(name).or_default() += count;
            }
        }
    }
}

/// Derives the name under which a response is counted.
pub type Name = fn(&str) -> String;

/// A number of browsers that request the same page.
#[derive(Debug)]
pub struct Load {
    stop: Arc<AtomicBool>,
    browsers: Vec<JoinHandle<Tally>>,
}

impl Load {
    /// Starts `browsers` browsers, which send requests until stopped, or until they have sent `count` requests
    /// together.
    pub fn start(address: SocketAddr, path: &str, browsers: usize, count: Option<u64>, name: Name) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let asked = Arc::new(AtomicU64::new(0));
        let count = count.unwrap_or(u64::MAX);
        let one = || {
            let (stop, asked, path) = (Arc::clone(&stop), Arc::clone(&asked), path.to_owned());
            std::thread::spawn(move || {
                let (mut browser, mut tally) = (Browser::new(address), Tally::default());
                while !stop.load(Ordering::Relaxed) && asked.fetch_add(1, Ordering::Relaxed) < count {
                    tally.count(browser.get(&path, &[]), name);
                }
                tally
            })
        };
        let browsers = (0..browsers).map(|_| one()).collect();
        Self { stop, browsers }
    }

    /// Waits for the active requests and returns the results.
    pub fn stop(self) -> Tally {
        self.stop.store(true, Ordering::Relaxed);
        self.finish()
    }

    /// Waits until all requests are complete, and returns the results.
    pub fn finish(self) -> Tally {
        let mut all = Tally::default();
        for browser in self.browsers {
            all.add(browser.join().expect("a browser does not panic"));
        }
        all
    }
}
