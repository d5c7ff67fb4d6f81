//! What makes a verb: its arguments, what its help says, and what it does. A verb implements [`Verb`] in a file of its
//! own and has a line in the table of `verb/mod.rs`; nothing else names it.

use clap::{ArgMatches, Args, Command};

use crate::failure::Failure;
use crate::state::State;

/// A verb of the command; the type holds its arguments.
pub trait Verb: Args {
    /// The word that is typed.
    const NAME: &'static str;
    /// Other words for it.
    const ALIASES: &'static [&'static str] = &[];
    /// One line for the list of verbs.
    const ABOUT: &'static str;
    /// Command lines to show in its help, without `ostria` in front.
    const EXAMPLES: &'static [&'static str];

    /// Does it.
    fn run(self, state: &State) -> Result<(), Failure>;
}

/// A line of the table of verbs.
#[derive(Debug)]
pub struct Entry {
    name: &'static str,
    aliases: &'static [&'static str],
    about: &'static str,
    examples: &'static [&'static str],
    arguments: fn(Command) -> Command,
    run: fn(&State, &ArgMatches) -> Result<(), Failure>,
}

impl Entry {
    /// The line of a verb.
    pub const fn of<V: Verb>() -> Self {
        Self {
            name: V::NAME,
            aliases: V::ALIASES,
            about: V::ABOUT,
            examples: V::EXAMPLES,
            arguments: V::augment_args,
            run: parse_and_run::<V>,
        }
    }

    /// The word that is typed.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// The verb as a part of the command line.
    pub fn command(&self) -> Command {
        let examples = self.examples.iter().map(|example| format!("\n  ostria {example}"));
        (self.arguments)(Command::new(self.name))
            .visible_aliases(self.aliases)
            .about(self.about)
            .long_about(None::<&str>)
            .after_help(examples.fold("Examples:".to_string(), |text, line| text + &line))
    }

    /// Does what the command line says.
    pub fn run(&self, state: &State, matches: &ArgMatches) -> Result<(), Failure> {
        (self.run)(state, matches)
    }
}

fn parse_and_run<V: Verb>(state: &State, matches: &ArgMatches) -> Result<(), Failure> {
    match V::from_arg_matches(matches) {
        Ok(verb) => verb.run(state),
        Err(error) => error.exit(),
    }
}
