//! How many files the process may open. Every connection is one, and the soft limit is often one for programs that open
//! a few.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Takes as many as the hard limit allows. What fails is no reason not to start.
pub fn raise() {
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE)
        && soft < hard
        && let Err(error) = setrlimit(Resource::RLIMIT_NOFILE, hard, hard)
    {
        eprintln!("the limit on open files stays at {soft}: {error}");
    }
}

/// How many there may be.
pub fn limit() -> usize {
    let limit = getrlimit(Resource::RLIMIT_NOFILE);
    limit.map_or(usize::MAX, |(soft, _)| usize::try_from(soft).unwrap_or(usize::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_raised_limit_is_the_hard_one() {
        raise();
        let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
        assert_eq!(soft, hard);
        assert_eq!(limit() as u64, soft);
    }
}
