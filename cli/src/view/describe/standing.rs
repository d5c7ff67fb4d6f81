//! Pure. Describes the verdicts of pilot and the proxies on an object, and its related objects.

use api::resource::document::Problem;
use api::resource::verdict::{ObjectVerdict, Standing};

use crate::view::sheet::Sheet;
use crate::wire::Description;

/// The verdict of pilot and the responses of the proxies.
pub(super) fn verdict(sheet: &mut Sheet, description: &Description) {
    let Some(verdict) = &description.verdict else { return };
    sheet.field(0, "Verdict", &word(verdict));
    for (label, found) in [("Errors", &verdict.errors), ("Warnings", &verdict.warnings)] {
        let lines: Vec<String> = found.iter().map(Problem::finding).collect();
        if !lines.is_empty() {
            sheet.field(0, label, &lines.join("\n"));
        }
    }
    if verdict.snapshot == 0 {
        return;
    }
    let (mut acknowledged, mut rest) = (vec![], vec![]);
    for proxy in &description.proxies {
        match proxy.standing(verdict.snapshot) {
            Standing::Acknowledged => acknowledged.push(proxy.proxy.as_str()),
            Standing::Pending => rest.push(format!("{}: has not acknowledged yet", proxy.proxy)),
            Standing::Refused(refusal) => {
                rest.push(format!(
                    "{}: rejected {}: {}",
                    proxy.proxy,
                    refusal.names.join(", "),
                    refusal.detail
                ));
            }
        }
    }
    let all = description.proxies.len();
    sheet.field(
        0,
        "Acknowledged",
        &format!("{} of {all} proxies\n{}", acknowledged.len(), acknowledged.join("\n")),
    );
    if !rest.is_empty() {
        sheet.field(0, "Not In Force At", &rest.join("\n"));
    }
}

fn word(verdict: &ObjectVerdict) -> String {
    match (verdict.accepted, verdict.snapshot) {
        (true, _) => format!("Accepted (generation {})", verdict.version.generation),
        (false, 0) => "Rejected".into(),
        (false, _) => "Rejected; the last valid version is in force".into(),
    }
}

/// Objects that route to this object or configure it, and objects that it applies to.
pub(super) fn related(sheet: &mut Sheet, description: &Description) {
    if description.relations.is_empty() {
        return;
    }
    sheet.line(0, "Related:");
    sheet.row(2, ["Kind", "Name", "How"]);
    sheet.row(2, ["----", "----", "---"]);
    for related in &description.relations {
        let name = if related.namespace.is_empty() {
            related.name.clone()
        } else {
            format!("{}/{}", related.namespace, related.name)
        };
        sheet.row(2, [related.kind.as_str(), name.as_str(), related.how.as_str()]);
    }
}
