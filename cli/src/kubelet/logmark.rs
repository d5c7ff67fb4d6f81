//! Pure. Lengths of logs over time, for `logs --since`: containers write their log files themselves, without
//! timestamps.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// Lengths of one file, sorted by time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Marks(Vec<(u64, u64)>);

impl Marks {
    /// Records the file's length at a time in seconds since 1970. If there are too many marks, every second one is
    /// dropped, except the latest. So old marks are farther apart.
    pub fn note(&mut self, now: u64, length: u64) {
        if self.0.last().is_some_and(|(_, known)| *known == length) {
            return;
        }
        self.0.push((now, length));
        if self.0.len() > MOST {
            let mut index = 0;
            self.0.retain(|_| {
                index += 1;
                index % 2 == 1
            });
        }
    }

    /// The offset of the output written since a time. Output that may be slightly older is included.
    pub fn since(&self, moment: u64) -> u64 {
        self.0.iter().rev().find(|(at, _)| *at <= moment).map_or(0, |(_, length)| *length)
    }
}

/// The marks of all files.
#[derive(Debug, Default)]
pub struct LogMarks(Mutex<BTreeMap<PathBuf, Marks>>);

impl LogMarks {
    /// The offset of the output written to a file since a time.
    pub fn since(&self, file: &Path, moment: u64) -> u64 {
        let marks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        marks.get(file).map_or(0, |marks| marks.since(moment))
    }

    /// Records the lengths of these files, and forgets all other files.
    pub fn note(&self, now: u64, files: &[(PathBuf, u64)]) {
        let mut marks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        marks.retain(|known, _| files.iter().any(|(file, _)| file == known));
        for (file, length) in files {
            marks.entry(file.clone()).or_default().note(now, *length);
        }
    }
}

const MOST: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_since_a_time_begins_at_the_mark_before_it() {
        let mut marks = Marks::default();
        for (now, length) in [(10, 100), (11, 100), (12, 250)] {
            marks.note(now, length);
        }
        for (moment, expected) in [(9, 0), (10, 100), (11, 100), (12, 250), (99, 250)] {
            assert_eq!(marks.since(moment), expected, "{moment}");
        }
    }

    #[test]
    fn marks_are_limited_and_the_latest_stays() {
        let mut marks = Marks::default();
        for now in 0..100_000 {
            marks.note(now, now * 10);
        }
        assert!(marks.0.len() <= MOST);
        assert_eq!(marks.since(99_999), 999_990);
    }
}
