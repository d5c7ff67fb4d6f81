//! The verbs. Each has its own file and one entry in the table.

pub mod api_resources;
pub mod apply;
pub mod check;
pub mod crds;
pub mod delete;
pub mod describe;
pub mod down;
pub mod events;
pub mod exec;
pub mod get;
pub mod inject;
pub mod install;
pub mod logs;
pub mod port_forward;
pub mod proxy_config;
pub mod proxy_status;
pub mod rollout;
pub mod scale;
pub mod status;
pub mod uninstall;
pub mod up;
pub mod version;

pub mod plane;
pub mod plugin;
pub mod print;
pub mod resource;
pub mod settle;

pub mod entry;

#[cfg(test)]
mod documented;

use crate::arguments;
use crate::verb::entry::Entry;

/// All verbs, in the order of `--help`.
pub const TABLE: &[Entry] = &[
    Entry::of::<arguments::Up>(),
    Entry::of::<down::Down>(),
    Entry::of::<status::Status>(),
    Entry::of::<arguments::Apply>(),
    Entry::of::<arguments::Delete>(),
    Entry::of::<get::Get>(),
    Entry::of::<arguments::Describe>(),
    Entry::of::<events::Events>(),
    Entry::of::<logs::Logs>(),
    Entry::of::<exec::Exec>(),
    Entry::of::<port_forward::PortForward>(),
    Entry::of::<rollout::Rollout>(),
    Entry::of::<scale::Scale>(),
    Entry::of::<proxy_status::ProxyStatus>(),
    Entry::of::<proxy_config::ProxyConfig>(),
    Entry::of::<inject::Inject>(),
    Entry::of::<install::Install>(),
    Entry::of::<check::Check>(),
    Entry::of::<uninstall::Uninstall>(),
    Entry::of::<api_resources::ApiResources>(),
    Entry::of::<crds::Crds>(),
    Entry::of::<version::Version>(),
];

/// The complete command line for clap. `program` is how the user calls the program: `ostria`, or `kubectl ostria`.
pub fn command_of(program: &str) -> clap::Command {
    let base = arguments::base().bin_name(program);
    TABLE.iter().fold(base, |command, entry| command.subcommand(entry.command(program)))
}

/// The command line of `ostria`.
pub fn command() -> clap::Command {
    command_of("ostria")
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::FromArgMatches;

    #[test]
    fn the_command_line_is_consistent() {
        command().debug_assert();
    }

    #[test]
    fn the_help_says_what_the_command_is_and_lists_the_verbs_before_the_rest() {
        let help = command().render_help().to_string();
        assert!(help.starts_with("A service mesh, on one machine or on Kubernetes\n"), "{help}");
        let position = |name: &str| help.find(&format!("\n  {name} ")).unwrap();
        assert!(
            position("up") < position("version") && position("version") < position("completion"),
            "{help}"
        );
    }

    #[test]
    fn every_example_of_a_verb_is_a_command_line_of_it() {
        for entry in TABLE {
            let help = entry.command("ostria").render_help().to_string();
            let examples: Vec<&str> =
                help.lines().skip_while(|line| *line != "Examples:").skip(1).map(str::trim).collect();
            assert!(!examples.is_empty(), "{} has no example", entry.name());
            for example in examples {
                let words = example.split(' ').map(|word| word.trim_matches('\''));
                let parsed = command().try_get_matches_from(words);
                let parsed = parsed.unwrap_or_else(|error| panic!("{example}: {error}"));
                assert_eq!(parsed.subcommand_name(), Some(entry.name()), "{example}");
            }
        }
    }

    #[test]
    fn flags_of_every_verb_may_precede_or_follow_it() {
        for line in ["ostria -n shop --context c get pods", "ostria get pods --context c -n shop"] {
            let matches = command().try_get_matches_from(line.split(' ')).unwrap();
            let flags = arguments::Flags::from_arg_matches(&matches).unwrap();
            assert_eq!(
                (flags.namespace.as_deref(), flags.context.as_deref()),
                (Some("shop"), Some("c")),
                "{line}"
            );
        }
    }

    #[test]
    fn the_help_of_the_plugin_says_how_it_is_called() {
        let failed = command_of("kubectl ostria").try_get_matches_from(["kubectl-ostria", "get", "--help"]);
        let help = failed.unwrap_err().to_string();
        assert!(help.contains("Usage: kubectl ostria get"), "{help}");
        assert!(help.contains("\n  kubectl ostria get pods"), "{help}");
    }

    #[test]
    fn the_state_flag_may_precede_or_follow_the_verb() {
        for line in [["ostria", "--state", "x", "down"], ["ostria", "down", "--state", "x"]] {
            let matches = command().try_get_matches_from(line).unwrap();
            let state = matches.get_one::<std::path::PathBuf>("state").unwrap();
            assert_eq!(state, std::path::Path::new("x"));
        }
    }

    #[test]
    fn the_command_of_exec_follows_two_dashes() {
        let line = ["ostria", "exec", "web", "-c", "app", "--", "ls", "-l"];
        let matches = command().try_get_matches_from(line).unwrap();
        let (_, exec) = matches.subcommand().unwrap();
        let words: Vec<&String> = exec.get_many("command").unwrap().collect();
        assert_eq!(words, ["ls", "-l"]);
    }
}
