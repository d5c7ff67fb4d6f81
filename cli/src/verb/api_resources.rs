//! `ostria api-resources`: the kinds that `get`, `apply` and `delete` read, with the names that they accept for each.

use api::resource::descriptor::Descriptor;
use api::resource::kind::{self, refused};
use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use crate::arguments::Output;
use crate::failure::Failure;
use crate::place::Place;
use crate::verb::entry::Verb;
use crate::verb::print;
use crate::view::table::Widths;

/// `ostria api-resources`
#[derive(Debug, Args)]
pub struct ApiResources {
    /// Only kinds of this API group; empty for the core group
    #[arg(long, value_name = "GROUP")]
    api_group: Option<String>,
    /// Only kinds of all these categories
    #[arg(long, value_delimiter = ',')]
    categories: Vec<String>,
    /// Only kinds whose objects are in a namespace; with --namespaced=false only the others
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    namespaced: Option<bool>,
    /// Only kinds that support all these verbs
    #[arg(long, value_delimiter = ',')]
    verbs: Vec<String>,
    /// Column to sort by, instead of by group and name
    #[arg(long, value_enum)]
    sort_by: Option<SortBy>,
    /// Do not print the names of the columns
    #[arg(long)]
    no_headers: bool,
    /// Format: table, wide, name, json or yaml
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    output: Output,
}

/// The columns by which the list can be sorted.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum SortBy {
    Name,
    Kind,
}

impl Verb for ApiResources {
    const NAME: &'static str = "api-resources";
    const ABOUT: &'static str = "List the kinds of objects that the mesh reads";
    const EXAMPLES: &'static [&'static str] = &[
        "api-resources",
        "api-resources --api-group=networking.istio.io -o name",
        "api-resources --namespaced=false",
        "api-resources --categories=istio-io --sort-by=kind -o wide",
    ];

    /// Prints the kinds. They are part of the program, so no mesh need run.
    fn run(self, _place: &Place) -> Result<(), Failure> {
        let kinds = self.kinds();
        match print::document(&list(&kinds), self.output) {
            Some(text) => print::out(&text),
            None if self.output == Output::Name => print::out(&names(&kinds)),
            None => print::table(&table(&kinds, self.output == Output::Wide, !self.no_headers)),
        }
        Ok(())
    }
}

impl ApiResources {
    fn kinds(&self) -> Vec<&'static Descriptor> {
        let mut kinds: Vec<_> = kind::descriptors().filter(|kind| self.is_wanted(kind)).collect();
        kinds.sort_by_key(|kind| match self.sort_by {
            None => (kind.group, kind.plural),
            Some(SortBy::Name) => (kind.plural, kind.group),
            Some(SortBy::Kind) => (kind.kind, kind.plural),
        });
        kinds
    }

    fn is_wanted(&self, kind: &Descriptor) -> bool {
        let verbs = verbs(kind);
        !verbs.is_empty()
            && self.api_group.as_ref().is_none_or(|group| group == kind.group)
            && self.categories.iter().all(|wanted| kind.categories.contains(&wanted.as_str()))
            && self.namespaced.is_none_or(|wanted| wanted == kind.namespaced)
            && self.verbs.iter().all(|wanted| verbs.contains(&wanted.as_str()))
    }
}

/// What can be done with objects of a kind; nothing with those of a refused kind. The mesh writes Events itself.
fn verbs(kind: &Descriptor) -> &'static [&'static str] {
    match (kind.group, kind.kind) {
        ("", "Event") => &["get", "list", "watch"],
        (group, name) if refused::find(group, name).is_some() => &[],
        _ => &["create", "delete", "get", "list", "patch", "watch"],
    }
}

fn table(kinds: &[&Descriptor], wide: bool, heads: bool) -> String {
    let mut head = vec!["NAME", "SHORTNAMES", "APIVERSION", "NAMESPACED", "KIND"];
    if wide {
        head.extend(["VERBS", "CATEGORIES"]);
    }
    let row = |kind: &&Descriptor| {
        let mut row = vec![
            kind.plural.to_owned(),
            kind.short.join(","),
            kind.api_version(kind.storage()),
            kind.namespaced.to_string(),
            kind.kind.to_owned(),
        ];
        if wide {
            row.extend([verbs(kind).join(","), kind.categories.join(",")]);
        }
        row
    };
    let rows: Vec<_> = kinds.iter().map(row).collect();
    Widths::default().lines(heads.then_some(&head), &rows)
}

fn names(kinds: &[&Descriptor]) -> String {
    let name = |kind: &&Descriptor| match kind.group {
        "" => format!("{}\n", kind.plural),
        group => format!("{}.{group}\n", kind.plural),
    };
    kinds.iter().map(name).collect()
}

fn list(kinds: &[&Descriptor]) -> Value {
    let resource = |kind: &&Descriptor| {
        let mut resource = json!({
            "name": kind.plural, "singularName": kind.singular(), "namespaced": kind.namespaced,
            "version": kind.storage(), "kind": kind.kind, "verbs": verbs(kind),
        });
        for (name, list) in [("shortNames", kind.short), ("categories", kind.categories)] {
            if !list.is_empty() {
                resource[name] = list.into();
            }
        }
        if !kind.group.is_empty() {
            resource["group"] = kind.group.into();
        }
        resource
    };
    let resources: Vec<Value> = kinds.iter().map(resource).collect();
    json!({"apiVersion": "v1", "kind": "APIResourceList", "groupVersion": "", "resources": resources})
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verb;
    use clap::FromArgMatches;

    fn parsed(line: &str) -> ApiResources {
        let line = format!("ostria api-resources {line}");
        let matches = verb::command().try_get_matches_from(line.split_whitespace()).unwrap();
        ApiResources::from_arg_matches(matches.subcommand().unwrap().1).unwrap()
    }

    fn kinds(line: &str) -> Vec<&'static str> {
        parsed(line).kinds().iter().map(|kind| kind.kind).collect()
    }

    #[test]
    fn every_kind_that_is_read_is_listed_and_no_refused_one() {
        let listed = kinds("");
        for kind in kind::Kind::all() {
            assert!(listed.contains(&kind.name()), "{kind}");
        }
        assert!(listed.contains(&"Event"));
        assert!(!listed.contains(&"EnvoyFilter") && !listed.contains(&"DaemonSet"));
    }

    #[test]
    fn kinds_are_sorted_by_group_and_name_unless_a_column_is_given() {
        let all = parsed("").kinds();
        assert!(all.is_sorted_by_key(|kind| (kind.group, kind.plural)));
        assert_eq!(all[0].plural, "configmaps");
        assert!(parsed("--sort-by=name").kinds().is_sorted_by_key(|kind| kind.plural));
        assert_eq!(kinds("--sort-by=kind")[0], "ConfigMap");
    }

    #[test]
    fn each_flag_limits_the_list() {
        assert_eq!(kinds("--namespaced=false"), ["Namespace", "Node", "IngressClass"]);
        assert!(!kinds("--namespaced").contains(&"Namespace"));
        assert_eq!(kinds("--api-group=batch"), ["Job"]);
        let core = parsed("--api-group=").kinds();
        assert!(core.iter().all(|kind| kind.group.is_empty()) && core.iter().any(|kind| kind.kind == "Pod"));
        assert_eq!(kinds("--categories=istio-io,security-istio-io"), ["PeerAuthentication"]);
        assert!(kinds("--verbs=list,watch").contains(&"Event"));
        assert!(!kinds("--verbs=list,delete").contains(&"Event"));
        assert!(kinds("--verbs=fly").is_empty());
    }

    #[test]
    fn the_table_has_kubectls_columns() {
        let batch = parsed("--api-group=batch").kinds();
        assert_eq!(
            table(&batch, true, true),
            "NAME   SHORTNAMES   APIVERSION   NAMESPACED   KIND   VERBS                                CATEGORIES\n\
             jobs                batch/v1     true         Job    create,delete,get,list,patch,watch   all\n"
        );
        assert_eq!(table(&batch, false, false), "jobs      batch/v1   true   Job\n");
    }

    #[test]
    fn a_name_is_what_get_accepts_for_the_kind() {
        for kind in parsed("").kinds() {
            let name = names(&[kind]);
            let found = kind::named(name.trim_end()).unwrap();
            assert_eq!((found.group, found.kind), (kind.group, kind.kind), "{name}");
        }
        assert_eq!(
            names(&parsed("--api-group=security.istio.io").kinds()),
            "peerauthentications.security.istio.io\n"
        );
    }

    #[test]
    fn programs_read_the_list_as_kubernetes_api_server_writes_it() {
        let list = list(&parsed("--api-group=apps --sort-by=name").kinds());
        let deployment = &list["resources"][0];
        assert_eq!(list["kind"], "APIResourceList");
        assert_eq!(deployment["group"], "apps");
        assert_eq!(deployment["version"], "v1");
        assert_eq!(deployment["shortNames"], json!(["deploy"]));
    }
}
