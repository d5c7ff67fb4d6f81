//! The executable `ostria`. It only calls the library, so that tests can reach all of the code.

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::app::run()
}
