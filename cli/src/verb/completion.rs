//! `ostria completion`.

use clap::CommandFactory;

use crate::arguments::Arguments;

/// Prints a shell's completion script.
pub fn run(shell: clap_complete::Shell) {
    clap_complete::generate(shell, &mut Arguments::command(), "ostria", &mut std::io::stdout());
}
