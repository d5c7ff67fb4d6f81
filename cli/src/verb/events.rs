//! `ostria events`.

use clap::Args;
use serde_json::{Value, json};

use crate::arguments::Output;
use crate::client::stream::block_on;
use crate::failure::Failure;
use crate::place::Place;
use crate::verb::entry::Verb;
use crate::verb::print;
use crate::view::events;
use crate::view::table::Widths;
use crate::wire::EventQuery;
use api::resource::kind;

/// `ostria events`
#[derive(Debug, Args)]
pub struct Events {
    /// Only events about this object
    #[arg(long = "for", value_name = "KIND/NAME")]
    about: Option<String>,
    /// Only events of these types
    #[arg(long, value_delimiter = ',', value_parser = ["Normal", "Warning"], ignore_case = true)]
    types: Vec<String>,
    /// Show events of all namespaces
    #[arg(short = 'A', long)]
    all_namespaces: bool,
    /// Do not print the header
    #[arg(long)]
    no_headers: bool,
    /// Keep printing events as they occur
    #[arg(short, long)]
    watch: bool,
    /// Format: table, json or yaml
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    output: Output,
}

impl Verb for Events {
    const NAME: &'static str = "events";
    const ABOUT: &'static str = "List events, oldest first";
    const EXAMPLES: &'static [&'static str] =
        &["events -A", "events --for deployment/reviews-v1", "events -A --types=Warning", "events --watch"];

    fn run(self, place: &Place) -> Result<(), Failure> {
        let about = self.about.as_deref().map(about).transpose()?;
        block_on(async {
            let mesh = place.mesh().await?;
            let namespace = (!self.all_namespaces).then(|| mesh.namespace().to_string());
            let query = EventQuery { namespace: namespace.clone(), about };
            let mut widths = Widths::default();
            let mut shown: Vec<Value> = Vec::new();
            let mut heads = !self.no_headers;
            loop {
                let found = mesh.events(&query).await?;
                let fresh: Vec<Value> = found
                    .into_iter()
                    .filter(|event| self.is_wanted(event) && !shown.contains(event))
                    .collect();
                self.print(&fresh, &mut widths, heads);
                heads &= fresh.is_empty();
                if !self.watch {
                    if fresh.is_empty() && self.output == Output::Table {
                        match &namespace {
                            Some(namespace) => eprintln!("No events found in {namespace} namespace."),
                            None => eprintln!("No events found."),
                        }
                    }
                    return Ok(());
                }
                shown.extend(fresh);
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        })
    }
}

impl Events {
    fn is_wanted(&self, event: &Value) -> bool {
        let kind = event["type"].as_str().unwrap_or_default();
        self.types.is_empty() || self.types.iter().any(|wanted| wanted.eq_ignore_ascii_case(kind))
    }

    fn print(&self, events: &[Value], widths: &mut Widths, heads: bool) {
        let list = || json!({"apiVersion": "v1", "kind": "List", "items": events});
        match print::document(&list(), self.output) {
            Some(text) => print::out(&text),
            None if events.is_empty() => {}
            None => print::table(&events::render(widths, events, self.all_namespaces, heads, print::now())),
        }
    }
}

fn about(text: &str) -> Result<(String, String), Failure> {
    let next = "write --for KIND/NAME";
    let (word, name) =
        text.split_once('/').ok_or_else(|| Failure::blocked(format!("{text} is not KIND/NAME"), next))?;
    let kind = kind::named(word).ok_or_else(|| {
        Failure::blocked(format!("the server doesn't have a resource type \"{word}\""), next)
    })?;
    Ok((kind.kind.into(), name.into()))
}

const LOOK_AGAIN: std::time::Duration = std::time::Duration::from_millis(500);
