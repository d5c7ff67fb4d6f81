//! `ostria get`.

use std::io::Write;

use api::resource::descriptor::Descriptor;
use api::resource::selector::field::FieldSelector;
use api::resource::selector::requirement::Selector;
use clap::Args;
use serde_json::Value;

use crate::client::mesh::Mesh;
use crate::client::stream::block_on;
use crate::failure::Failure;
use crate::manifest::object::{Key, is_selected, text};
use crate::place::Place;
use crate::verb::entry::Verb;
use crate::verb::{print, resource};
use crate::view::events;
use crate::view::form::{self, Form};
use crate::view::get::{self, Style};
use crate::view::jsonpath::eval;
use crate::view::jsonpath::parse;
use crate::view::jsonpath::path::Path;
use crate::view::table::Widths;
use crate::wire::Watched;

/// `ostria get`
#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
pub struct Get {
    /// Kinds, such as `pods` or `vs,dr`, and names; or KIND/NAME
    #[arg(required = true, value_name = "KIND[,KIND] [NAME...] | KIND/NAME...")]
    words: Vec<String>,
    /// Show objects of all namespaces
    #[arg(short = 'A', long)]
    all_namespaces: bool,
    /// Only objects with these labels, such as app=reviews, 'version in (v1,v2)' or '!canary'
    #[arg(short = 'l', long)]
    selector: Option<Selector>,
    /// Only objects with these fields, such as metadata.name, metadata.namespace, status.phase or spec.nodeName
    #[arg(long)]
    field_selector: Option<FieldSelector>,
    /// Format: wide, json, yaml, name, jsonpath=TEMPLATE or custom-columns=HEAD:PATH,...
    #[arg(short, long, default_value = "")]
    output: Form,
    /// After listing, watch for changes
    #[arg(short, long)]
    watch: bool,
    /// Watch for changes without listing first
    #[arg(long)]
    watch_only: bool,
    /// Show all labels in the last column
    #[arg(long)]
    show_labels: bool,
    /// Labels to show as columns
    #[arg(short = 'L', long, value_delimiter = ',')]
    label_columns: Vec<String>,
    /// Print the kind before each name
    #[arg(long)]
    show_kind: bool,
    /// Field to sort by, such as .metadata.creationTimestamp
    #[arg(long, value_name = "PATH")]
    sort_by: Option<SortPath>,
    /// Do not print the header
    #[arg(long)]
    no_headers: bool,
    /// Do not fail when an object does not exist
    #[arg(long)]
    ignore_not_found: bool,
}

impl Verb for Get {
    const NAME: &'static str = "get";
    const ABOUT: &'static str = "List objects";
    const EXAMPLES: &'static [&'static str] = &[
        "get pods -A -l 'app in (reviews,ratings)'",
        "get pods,svc --show-labels",
        "get virtualservice/bookinfo -o yaml",
        "get pods -w",
        "get pods -o 'jsonpath={.items[*].status.podIP}'",
    ];

    fn run(self, place: &Place) -> Result<(), Failure> {
        let selections = resource::selections(&self.words)?;
        if self.watch || self.watch_only {
            let [selection] = &selections[..] else {
                return Err(Failure::blocked(
                    "you may only specify a single resource type",
                    "watch one type at a time",
                ));
            };
            return block_on(async {
                let mesh = place.mesh().await?;
                self.follow(&mesh, self.namespace(&mesh), selection).await
            });
        }
        let (namespace, lists, absent) = block_on(async {
            let mesh = place.mesh().await?;
            let namespace = self.namespace(&mesh);
            let (lists, absent) = self.lists(&mesh, namespace.as_deref(), &selections).await?;
            Ok((namespace, lists, absent))
        })?;
        let single = selections.len() == 1 && selections[0].names.len() == 1;
        let named = selections.iter().any(|selection| !selection.names.is_empty());
        self.print(&lists, single && absent.is_empty(), named, namespace.as_deref())?;
        if absent.is_empty() || self.ignore_not_found {
            return Ok(());
        }
        let lines: Vec<String> = absent.iter().map(ToString::to_string).collect();
        Err(match &absent[..] {
            [single] => single.clone(),
            _ => {
                lines[..lines.len() - 1].iter().for_each(|line| eprintln!("{line}"));
                absent.into_iter().next_back().unwrap_or(Failure::Exit(1))
            }
        })
    }
}

/// Parsed value of `--sort-by`.
#[derive(Debug, Clone)]
struct SortPath(Path);

impl std::str::FromStr for SortPath {
    type Err = parse::JsonPathError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse::relaxed(text).map(Self)
    }
}

type Lists = Vec<(&'static Descriptor, Vec<Value>)>;

impl Get {
    fn namespace(&self, mesh: &Mesh) -> Option<String> {
        (!self.all_namespaces).then(|| mesh.namespace().to_string())
    }

    /// The objects of each kind, and a failure for each named object that does not exist.
    async fn lists(
        &self,
        mesh: &Mesh,
        namespace: Option<&str>,
        selections: &[resource::Selection],
    ) -> Result<(Lists, Vec<Failure>), Failure> {
        let (mut lists, mut absent) = (Lists::new(), Vec::new());
        for selection in selections {
            let kind = selection.kind;
            let mut objects = Vec::new();
            if selection.names.is_empty() {
                objects = mesh.list(&resource::query(kind, None, namespace)).await?;
            }
            // Objects are printed in the order of their names on the command line.
            for name in &selection.names {
                let found = mesh.list(&resource::query(kind, Some(name), namespace)).await?;
                absent.extend(found.is_empty().then(|| resource::missing(kind, name)));
                objects.extend(found);
            }
            objects.retain(|object| self.is_wanted(object));
            if let Some(SortPath(path)) = &self.sort_by {
                form::sort(&mut objects, path)
                    .map_err(|error| Failure::blocked(error, "correct --sort-by"))?;
            }
            lists.push((selection.kind, objects));
        }
        Ok((lists, absent))
    }

    fn is_wanted(&self, object: &Value) -> bool {
        let field = |path: &str| {
            let pointer = format!("/{}", path.replace('.', "/"));
            object.pointer(&pointer).map(eval::print).unwrap_or_default()
        };
        self.selector.as_ref().is_none_or(|selector| is_selected(object, selector))
            && self.field_selector.as_ref().is_none_or(|selector| selector.matches(field))
    }

    fn style(&self, kinds: bool) -> Style<'_> {
        Style {
            namespaces: self.all_namespaces,
            wide: self.output == Form::Wide,
            kinds: kinds || self.show_kind,
            labels: self.show_labels,
            label_columns: &self.label_columns,
            now: print::now(),
        }
    }

    fn print(
        &self,
        lists: &Lists,
        single: bool,
        named: bool,
        namespace: Option<&str>,
    ) -> Result<(), Failure> {
        if matches!(self.output, Form::Table | Form::Wide) {
            self.tables(lists, named, namespace);
            return Ok(());
        }
        let objects: Vec<Value> = lists.iter().flat_map(|(_, objects)| objects.clone()).collect();
        let text = if objects.is_empty() && named {
            String::new()
        } else {
            print::formed(&self.output, &objects, single, !self.no_headers)?
        };
        print::out(&text);
        Ok(())
    }

    fn tables(&self, lists: &Lists, named: bool, namespace: Option<&str>) {
        let kinds = lists.len() > 1;
        let filled: Vec<_> = lists.iter().filter(|(_, objects)| !objects.is_empty()).collect();
        if filled.is_empty() && !named {
            let namespaced = lists.iter().all(|(kind, _)| kind.namespaced);
            match namespace.filter(|_| namespaced) {
                Some(namespace) => eprintln!("No resources found in {namespace} namespace."),
                None => eprintln!("No resources found"),
            }
        }
        let style = self.style(kinds);
        let table = |(kind, objects): &&(&'static Descriptor, Vec<Value>)| {
            lines(kind, objects, style, &mut Widths::default(), !self.no_headers)
        };
        print::table(&filled.iter().map(table).collect::<Vec<_>>().join("\n"));
    }

    async fn follow(
        &self,
        mesh: &Mesh,
        namespace: Option<String>,
        selection: &resource::Selection,
    ) -> Result<(), Failure> {
        let query = resource::query(selection.kind, None, namespace.as_deref());
        let mut watch = mesh.watch(&query).await?;
        let (mut first, mut begun) = (Vec::new(), false);
        let mut widths = Widths::default();
        while let Some(watched) = watch.next().await? {
            let (gone, object) = match watched {
                Watched::Added(object) | Watched::Modified(object) => (false, object),
                Watched::Deleted(object) => (true, object),
                Watched::Bookmark => {
                    begun = true;
                    if !self.watch_only {
                        self.show(selection.kind, &first, &mut widths, !self.no_headers)?;
                    }
                    continue;
                }
            };
            let named = selection.names.is_empty() || selection.names.contains(&Key::of(&object).name);
            if !named || !self.is_wanted(&object) {
                continue;
            }
            if begun {
                // If no list was printed before, the first line of changes prints the names of the columns.
                let heads = first.is_empty() && !self.no_headers;
                first.push(Value::Null);
                self.show(selection.kind, &[mark(object, gone)], &mut widths, heads)?;
            } else {
                first.push(object);
            }
        }
        Ok(())
    }

    fn show(
        &self,
        kind: &Descriptor,
        objects: &[Value],
        widths: &mut Widths,
        heads: bool,
    ) -> Result<(), Failure> {
        if objects.is_empty() {
            return Ok(());
        }
        if matches!(self.output, Form::Table | Form::Wide) {
            print::table(&lines(kind, objects, self.style(false), widths, heads));
        } else {
            for object in objects {
                print::out(&print::formed(&self.output, std::slice::from_ref(object), true, heads)?);
            }
        }
        // A program that reads the output gets each line at once.
        let _ = std::io::stdout().flush();
        Ok(())
    }
}

/// Gives a deleted object a `deletionTimestamp`, so that its last line shows it as terminating.
fn mark(mut object: Value, gone: bool) -> Value {
    if gone && text(&object, "/metadata/deletionTimestamp").is_empty() {
        object["metadata"]["deletionTimestamp"] = object["metadata"]["creationTimestamp"].clone();
    }
    object
}

/// Renders one row for each object, with the names of the columns before them if `heads` is set.
fn lines(kind: &Descriptor, objects: &[Value], style: Style<'_>, widths: &mut Widths, heads: bool) -> String {
    if kind.kind == "Event" {
        return events::render(widths, objects, style.namespaces, heads, style.now);
    }
    let head = get::heads(kind, style);
    let head: Vec<&str> = head.iter().map(String::as_str).collect();
    widths.lines(heads.then_some(&head), &get::rows(kind, objects, style))
}
