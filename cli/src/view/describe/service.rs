//! Pure. Describes a Service with the endpoints of its ports.

use serde_json::Value;

use super::part::{head, labels, scalar, selector};
use crate::manifest::object::text;
use crate::view::sheet::Sheet;
use crate::wire::Description;

pub(super) fn service(sheet: &mut Sheet, description: &Description) {
    let object = &description.object;
    head(sheet, object);
    labels(sheet, 0, &object["metadata"]);
    sheet.field(0, "Selector", &selector(&object["spec"]["selector"]));
    let kind = text(object, "/spec/type");
    sheet.field(0, "Type", if kind.is_empty() { "ClusterIP" } else { kind });
    sheet.field(0, "IP Families", "IPv4");
    sheet.field(0, "IP", text(object, "/spec/clusterIP"));
    if !text(object, "/spec/externalName").is_empty() {
        sheet.field(0, "External Name", text(object, "/spec/externalName"));
    }
    let ports = object.pointer("/spec/ports").and_then(Value::as_array).into_iter().flatten();
    for (at, port) in ports.enumerate() {
        let protocol = if text(port, "/protocol").is_empty() { "TCP" } else { text(port, "/protocol") };
        let name = if text(port, "/name").is_empty() { "<unset>" } else { text(port, "/name") };
        sheet.field(0, "Port", &format!("{name}  {}/{protocol}", port["port"]));
        let target = port.get("targetPort").unwrap_or(&port["port"]);
        sheet.field(0, "TargetPort", &format!("{}/{protocol}", scalar(target)));
        if let Some(number) = port.get("nodePort") {
            sheet.field(0, "NodePort", &format!("{name}  {number}/{protocol}"));
        }
        let endpoints = description.endpoints.get(at).map(Vec::as_slice).unwrap_or_default();
        let more = endpoints.len().saturating_sub(SHOWN);
        let shown = endpoints[..endpoints.len() - more].join(",");
        let rest = if more > 0 { format!(" + {more} more...") } else { String::new() };
        sheet.field(0, "Endpoints", &(shown + &rest));
    }
    let affinity = text(object, "/spec/sessionAffinity");
    sheet.field(0, "Session Affinity", if affinity.is_empty() { "None" } else { affinity });
}

/// Number of endpoints that are listed, the same as kubectl's.
const SHOWN: usize = 3;
