//! The executable `ostria`. It exists apart from the library so that all of the command is testable code.

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::app::run()
}
