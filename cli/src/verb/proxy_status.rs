//! `ostria proxy-status`.

use clap::Args;
use serde_json::Value;

use crate::arguments::Output;
use crate::client;
use crate::failure::Failure;
use crate::state::State;
use crate::verb::entry::Verb;
use crate::verb::print;
use crate::view::sync;
use crate::wire::Status;

/// `ostria proxy-status`
#[derive(Debug, Args)]
pub struct ProxyStatus {
    /// Only the proxies of pods whose name begins with this, as NAME or NAME.NAMESPACE
    pod: Option<String>,
    /// Only the proxies of this namespace
    #[arg(short, long)]
    namespace: Option<String>,
    /// Format: table, json or yaml
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    output: Output,
}

impl Verb for ProxyStatus {
    const NAME: &'static str = "proxy-status";
    const ALIASES: &'static [&'static str] = &["ps"];
    const ABOUT: &'static str = "Show whether each proxy is in sync with pilot, by type";
    const EXAMPLES: &'static [&'static str] = &["proxy-status", "proxy-status reviews -n default"];

    fn run(self, state: &State) -> Result<(), Failure> {
        let status: Status = client::block_on(client::call(state, "/status", &()))?;
        let all = status.proxies.as_array().ok_or_else(|| {
            Failure::blocked("pilot does not answer", "look at the log of pilot in the state folder")
        })?;
        let proxies: Vec<Value> = all.iter().filter(|proxy| self.is_wanted(proxy)).cloned().collect();
        if let (Some(pod), true) = (&self.pod, proxies.is_empty()) {
            return Err(Failure::Missing(format!("no proxy of a pod \"{pod}\" is connected")));
        }
        match print::document(&proxies, self.output) {
            Some(text) => print::out(&text),
            None => {
                print::table(&sync::render(&proxies, env!("CARGO_PKG_VERSION")));
                print::out(&sync::refusals(&proxies));
            }
        }
        Ok(())
    }
}

impl ProxyStatus {
    fn is_wanted(&self, proxy: &Value) -> bool {
        let known = proxy["proxy"].as_str().unwrap_or_default();
        let (_, namespace) = known.rsplit_once('.').unwrap_or((known, ""));
        self.pod.as_ref().is_none_or(|pod| known.starts_with(pod.trim_start_matches("pod/")))
            && self.namespace.as_ref().is_none_or(|wanted| wanted == namespace)
    }
}
