//! Pure. Role-based access control of requests. The network filter of the same name uses the same rules.

pub mod decide;

pub mod condition;

use super::step::{RequestView, Step};
use crate::flow::flags::Flags;
use crate::flow::refusal::Refusal;
use crate::flow::subject::Subject;
use crate::matcher::InvalidConfig;
use api::model::authorization as model;
use condition::Authorization;
use decide::{Decision, decide};
use http::HeaderMap;

/// The rules for a request. Rules that only log or run in shadow mode are left out.
#[derive(Debug)]
pub struct Rules(Box<[Authorization]>);

impl Rules {
    /// Compiles rules.
    pub fn compile(from: &[model::Authorization]) -> Result<Self, InvalidConfig> {
        let mut rules = from.iter().map(Authorization::compile).collect::<Result<Vec<_>, _>>()?;
        rules.retain(|rules| !rules.shadow && rules.action != model::Action::Log);
        Ok(Self(rules.into()))
    }

    /// Whether there are any rules.
    pub fn has_effect(&self) -> bool {
        !self.0.is_empty()
    }

    /// Allows a request or refuses it.
    pub fn request(&self, request: &RequestView<'_>, headers: &HeaderMap) -> Step {
        let head = request.head(headers);
        let subject = Subject { head: Some(&head), ..request.subject };
        for rules in &self.0 {
            if let Decision::Denied(policy) = decide(rules, &subject) {
                return Step::Refuse(Box::new(denied(policy)));
            }
        }
        Step::Next
    }
}

fn denied(policy: Option<&str>) -> Refusal {
    let policy = policy.unwrap_or("none");
    let details = format!("rbac_access_denied_matched_policy[{policy}]");
    Refusal { details: details.into(), ..Refusal::new(403, "RBAC: access denied", Flags::NONE, "") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_denial_names_its_policy() {
        assert_eq!(denied(None).details, "rbac_access_denied_matched_policy[none]");
        assert_eq!(denied(Some("ns[a]")).details, "rbac_access_denied_matched_policy[ns[a]]");
    }
}
