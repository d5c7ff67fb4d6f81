//! Pure. The table of extension configurations (ECDS).

use serde_json::Value;

use crate::view::proxy::dump::{resources, text};
use crate::view::table;

/// One row for each extension configuration, sorted by type and name.
pub fn render(dump: &Value) -> String {
    let extensions = resources(dump, &["ecds_filters"], &["ecds_filter"]);
    let mut rows: Vec<Vec<String>> = extensions.into_iter().map(row).collect();
    if rows.is_empty() {
        return "No ECDS configuration\n".into();
    }
    rows.sort_by(|left, right| left.iter().rev().cmp(right.iter().rev()));
    table::render(&["ECDS NAME", "TYPE"], &rows)
}

fn row(extension: &Value) -> Vec<String> {
    let kind = text(&extension["typed_config"], "@type");
    let kind = kind.strip_prefix("type.googleapis.com/").unwrap_or(kind);
    vec![text(extension, "name").into(), kind.into()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn extensions_of_all_sections_are_listed_by_type_and_name() {
        let filter = |name: &str, kind: &str| {
            let config = json!({"@type": format!("type.googleapis.com/{kind}")});
            json!({"ecds_filter": {"name": name, "typed_config": config}})
        };
        let dump = json!({"configs": [
            {"@type": "type.googleapis.com/envoy.admin.v3.EcdsConfigDump",
             "ecds_filters": [filter("shop.b", "x.Wasm"), filter("shop.a", "x.Wasm")]},
            {"@type": "type.googleapis.com/envoy.admin.v3.EcdsConfigDump",
             "ecds_filters": [filter("tcp", "x.Stats"), {"ecds_filter": {"name": "pending"}}]}]});
        let expected =
            "ECDS NAME   TYPE\npending\ntcp         x.Stats\nshop.a      x.Wasm\nshop.b      x.Wasm\n";
        assert_eq!(render(&dump), expected);
    }

    #[test]
    fn a_proxy_without_extensions_says_so() {
        let dump = json!({"configs": [{"@type": "type.googleapis.com/envoy.admin.v3.ListenersConfigDump"}]});
        assert_eq!(render(&dump), "No ECDS configuration\n");
    }
}
