//! `ostria version`.

use clap::Args;

use crate::arguments::Output;
use crate::client::cluster::status;
use crate::client::mesh::Mesh;
use crate::client::stream::block_on;
use crate::failure::Failure;
use crate::place::Place;
use crate::verb::entry::Verb;
use crate::verb::print;
use crate::view::version::{self, Versions};

/// `ostria version`
#[derive(Debug, Args)]
pub struct Version {
    /// Only the version of this command
    #[arg(long)]
    client: bool,
    /// Format: json or yaml; without it, plain text
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    output: Output,
}

impl Verb for Version {
    const NAME: &'static str = "version";
    const ABOUT: &'static str =
        "Print the versions of the command and, in a cluster, of control plane and proxies";
    const EXAMPLES: &'static [&'static str] = &["version", "version --client -o json"];

    fn run(self, place: &Place) -> Result<(), Failure> {
        let mut versions = Versions { version: env!("CARGO_PKG_VERSION").into(), ..Versions::default() };
        let asked = if self.client { Ok(false) } else { block_on(ask(place, &mut versions)) };
        let text = print::document(&versions, self.output).unwrap_or_else(|| match &asked {
            Ok(true) => version::render(&versions),
            Ok(false) => format!("ostria {}\n", versions.version),
            Err(_) => format!("client version: {}\n", versions.version),
        });
        print::out(&text);
        asked.map(|_| ())
    }
}

/// Asks a cluster for the versions of its parts. Returns whether there is one: all programs of a mesh on this machine are
/// installed together.
async fn ask(place: &Place, versions: &mut Versions) -> Result<bool, Failure> {
    if !place.is_somewhere() {
        return Ok(false);
    }
    let Mesh::Cluster(cluster) = place.mesh().await? else { return Ok(false) };
    versions.control_plane = status::control(&cluster).await?;
    let rows = Mesh::Cluster(cluster).proxies().await?;
    versions.data_plane = version::of_proxies(&rows);
    Ok(true)
}
