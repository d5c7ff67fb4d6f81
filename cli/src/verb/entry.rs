//! The parts of a verb: its arguments, its help texts and its action. Each verb implements [`Verb`] in its own file and
//! has one line in the table of `verb/mod.rs`; no other place names it.

use clap::{ArgMatches, Args, Command};

use crate::failure::Failure;
use crate::place::Place;

/// A verb of the command. The implementing type holds the verb's arguments.
pub trait Verb: Args {
    /// The word that the user types.
    const NAME: &'static str;
    /// Aliases of the word.
    const ALIASES: &'static [&'static str] = &[];
    /// One line for the list of verbs in `--help`.
    const ABOUT: &'static str;
    /// Example command lines for the verb's help, without `ostria` in front.
    const EXAMPLES: &'static [&'static str];

    /// Runs the verb.
    fn run(self, place: &Place) -> Result<(), Failure>;
}

/// One entry of the table of verbs.
#[derive(Debug)]
pub struct Entry {
    name: &'static str,
    aliases: &'static [&'static str],
    about: &'static str,
    examples: &'static [&'static str],
    arguments: fn(Command) -> Command,
    run: fn(&Place, &ArgMatches) -> Result<(), Failure>,
}

impl Entry {
    /// The entry of the verb `V`.
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

    /// The word that the user types.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// The verb as a subcommand of clap. `program` is how the user calls the program.
    pub fn command(&self, program: &str) -> Command {
        let examples = self.examples.iter().map(|example| format!("\n  {program} {example}"));
        (self.arguments)(Command::new(self.name))
            .visible_aliases(self.aliases)
            .about(self.about)
            .long_about(None::<&str>)
            .after_help(examples.fold("Examples:".to_string(), |text, line| text + &line))
    }

    /// Runs the verb with parsed arguments.
    pub fn run(&self, place: &Place, matches: &ArgMatches) -> Result<(), Failure> {
        (self.run)(place, matches)
    }
}

fn parse_and_run<V: Verb>(place: &Place, matches: &ArgMatches) -> Result<(), Failure> {
    match V::from_arg_matches(matches) {
        Ok(verb) => verb.run(place),
        Err(error) => error.exit(),
    }
}
