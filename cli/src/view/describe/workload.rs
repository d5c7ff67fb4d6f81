//! Pure. Describes Deployments, StatefulSets and Jobs: the numbers of pods and the pod template.

use serde_json::Value;

use super::part::{conditions, head, labels, moment, scalar, selector};
use super::pod;
use crate::manifest::object::text;
use crate::view::sheet::Sheet;

pub(super) fn workload(sheet: &mut Sheet, object: &Value) {
    head(sheet, object);
    sheet.field(0, "CreationTimestamp", &moment(text(object, "/metadata/creationTimestamp")));
    labels(sheet, 0, &object["metadata"]);
    sheet.field(0, "Selector", &selector(&object["spec"]["selector"]["matchLabels"]));
    let count =
        |pointer: &str, default: u64| object.pointer(pointer).and_then(Value::as_u64).unwrap_or(default);
    let status = |field: &str| count(&format!("/status/{field}"), 0);
    let wanted = count("/spec/replicas", 1);
    match text(object, "/kind") {
        "Deployment" => {
            let replicas = format!(
                "{wanted} desired | {} updated | {} total | {} available | {} unavailable",
                status("updatedReplicas"),
                status("replicas"),
                status("availableReplicas"),
                status("unavailableReplicas")
            );
            sheet.field(0, "Replicas", &replicas);
            let strategy = text(object, "/spec/strategy/type");
            sheet.field(0, "StrategyType", if strategy.is_empty() { "RollingUpdate" } else { strategy });
            sheet.field(0, "MinReadySeconds", &count("/spec/minReadySeconds", 0).to_string());
        }
        "StatefulSet" => {
            sheet.field(0, "Replicas", &format!("{wanted} desired | {} total", status("replicas")));
            sheet.field(0, "Ready", &status("readyReplicas").to_string());
        }
        _ => {
            sheet.field(0, "Parallelism", &count("/spec/parallelism", 1).to_string());
            let completions = object.pointer("/spec/completions").map_or_else(|| "<unset>".into(), scalar);
            sheet.field(0, "Completions", &completions);
            if !text(object, "/status/startTime").is_empty() {
                sheet.field(0, "Start Time", &moment(text(object, "/status/startTime")));
            }
            let statuses = format!(
                "{} Active / {} Succeeded / {} Failed",
                status("active"),
                status("succeeded"),
                status("failed")
            );
            sheet.field(0, "Pods Statuses", &statuses);
        }
    }
    let template = &object["spec"]["template"];
    sheet.line(0, "Pod Template:");
    labels(sheet, 2, &template["metadata"]);
    let account = text(template, "/spec/serviceAccountName");
    if !account.is_empty() {
        sheet.field(2, "Service Account", account);
    }
    pod::containers(sheet, 2, &template["spec"], None);
    pod::volumes(sheet, 2, &template["spec"]);
    let fields = [("Type", "/type"), ("Status", "/status"), ("Reason", "/reason"), ("Message", "/message")];
    conditions(sheet, object, &fields);
}
