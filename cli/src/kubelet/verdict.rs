//! Pure. Writes a verdict into an object's `status`: the condition `Reconciled` with the number of proxies that are up
//! to date, as Istio writes it, and a message for each finding.

use api::resource::document::Problem;
use api::resource::verdict::{ObjectVerdict, ProxyProgress, Standing};
use serde_json::{Value, json};

/// Adds the verdict to the object's `status`.
pub fn judge(object: &mut Value, verdict: &ObjectVerdict, proxies: &[ProxyProgress]) {
    let found = |problems: &[Problem]| problems.iter().map(Problem::finding).collect::<Vec<_>>();
    let (errors, warnings) = (found(&verdict.errors), found(&verdict.warnings));
    let all = proxies.len();
    let standings: Vec<Standing<'_>> = proxies.iter().map(|proxy| proxy.standing(verdict.snapshot)).collect();
    let acknowledged = standings.iter().filter(|standing| **standing == Standing::Acknowledged).count();
    let refused = standings.iter().find_map(|standing| match standing {
        Standing::Refused(refusal) => Some(refusal.detail.clone()),
        Standing::Acknowledged | Standing::Pending => None,
    });
    let up_to_date = format!("{acknowledged}/{all} proxies up to date.");
    let (status, reason, message) = match (verdict.accepted, refused, warnings.is_empty()) {
        (false, ..) => ("False", "Refused", errors.join("\n")),
        (true, Some(detail), _) => ("False", "RefusedByProxy", format!("{up_to_date} {detail}")),
        (true, None, _) if acknowledged < all => ("Unknown", "Pending", up_to_date),
        (true, None, true) => ("True", "InForce", up_to_date),
        // A warning may be about a part without effect, or about a doubtful value.
        (true, None, false) => ("True", "Warning", warnings.join("\n")),
    };
    let condition = json!({"type": "Reconciled", "status": status, "reason": reason, "message": message});
    let conditions = object["status"]["conditions"].take();
    let conditions = conditions.as_array().cloned().unwrap_or_default();
    object["status"]["conditions"] = conditions.into_iter().chain([condition]).collect();
    let of = |level: &'static str| move |message: String| json!({"level": level, "message": message});
    let messages: Vec<Value> =
        errors.into_iter().map(of("ERROR")).chain(warnings.into_iter().map(of("WARNING"))).collect();
    if !messages.is_empty() {
        object["status"]["validationMessages"] = json!(messages);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use api::resource::verdict::ProxyRefusal;

    fn judged(verdict: &ObjectVerdict, proxies: &[ProxyProgress]) -> (String, String, Value) {
        let mut object = json!({"kind": "VirtualService"});
        judge(&mut object, verdict, proxies);
        let condition = &object["status"]["conditions"][0];
        let text = |field: &str| condition[field].as_str().unwrap_or_default().to_string();
        let word = format!("{} {}", text("status"), text("reason"));
        (word, text("message"), object["status"]["validationMessages"].clone())
    }

    #[test]
    fn the_condition_shows_whether_the_object_is_in_force_and_why_not() {
        let proxy = |acknowledged, refusals| ProxyProgress {
            acknowledged,
            responded: acknowledged,
            refusals,
            ..ProxyProgress::default()
        };
        let refusal = ProxyRefusal { since: 7, detail: "bad".into(), ..ProxyRefusal::default() };
        let accepted = || ObjectVerdict { accepted: true, snapshot: 7, ..ObjectVerdict::default() };
        let odd = Problem {
            path: "spec.a".into(),
            reason: "is odd".into(),
            next: "drop it".into(),
            ..Problem::default()
        };
        let (fine, late) = (proxy(7, vec![]), proxy(6, vec![]));

        let (word, message, messages) = judged(&accepted(), &[fine.clone(), fine.clone()]);
        assert_eq!(
            (word.as_str(), message.as_str(), messages),
            ("True InForce", "2/2 proxies up to date.", Value::Null)
        );
        let (word, message, _) = judged(&accepted(), &[fine.clone(), late]);
        assert_eq!((word.as_str(), message.as_str()), ("Unknown Pending", "1/2 proxies up to date."));
        let (word, message, _) = judged(&accepted(), &[fine.clone(), proxy(6, vec![refusal])]);
        assert_eq!(
            (word.as_str(), message.as_str()),
            ("False RefusedByProxy", "1/2 proxies up to date. bad")
        );
        let warned = ObjectVerdict { warnings: vec![odd.clone()], ..accepted() };
        let (word, message, messages) = judged(&warned, std::slice::from_ref(&fine));
        assert_eq!((word.as_str(), message.as_str()), ("True Warning", "spec.a: is odd; drop it"));
        assert_eq!(messages[0]["level"], "WARNING");
        let refused = ObjectVerdict { accepted: false, errors: vec![odd], ..accepted() };
        let (word, _, messages) = judged(&refused, &[fine]);
        assert_eq!((word.as_str(), &messages[0]["level"]), ("False Refused", &json!("ERROR")));
    }
}
