//! Pure. Validates mirrors: where copies of requests are sent, and of which share of the requests.

use super::context::Context;
use super::destination::destination;
use crate::catalog::route::Mirror;
use crate::check::finding::Findings;
use crate::check::value;
use api::model::matcher::Fraction;
use api::resource::kind::virtual_service as written;

/// Validates the mirrors of a route, in the two forms that Istio has for them.
pub(super) fn mirrors(
    f: &mut Findings,
    path: &str,
    written: &written::HttpRoute,
    context: Context,
) -> Vec<Mirror> {
    if written.mirror.is_some() && !written.mirrors.is_empty() {
        f.error(format!("{path}.mirrors"), "cannot be combined with mirror", "keep one of the two");
    }
    if written.mirror_percent.is_some() {
        f.warn(format!("{path}.mirrorPercent"), "is deprecated", "write mirrorPercentage.value");
    }
    let mut all = vec![];
    if let Some(mirror) = &written.mirror {
        let share = match (written.mirror_percentage, written.mirror_percent) {
            (Some(p), _) => value::share(f, &format!("{path}.mirrorPercentage.value"), p.value),
            (None, Some(p)) => value::share(f, &format!("{path}.mirrorPercent"), f64::from(p)),
            (None, None) => ALL,
        };
        let destination = destination(f, &format!("{path}.mirror"), Some(mirror), context);
        all.extend(destination.map(|destination| Mirror { destination, fraction: share }));
    } else if let Some(percentage) = written.mirror_percentage {
        let at = format!("{path}.mirrorPercentage");
        value::share(f, &format!("{at}.value"), percentage.value);
        f.warn(at, "has no effect without mirror", "add mirror, or write mirrors[].percentage");
    } else if let Some(percent) = written.mirror_percent {
        let at = format!("{path}.mirrorPercent");
        value::share(f, &at, f64::from(percent));
        f.warn(at, "has no effect without mirror", "add mirror");
    }
    for (i, mirror) in written.mirrors.iter().enumerate() {
        let path = format!("{path}.mirrors[{i}]");
        let percentage = mirror.percentage;
        let share = percentage.map_or(ALL, |p| value::share(f, &format!("{path}.percentage.value"), p.value));
        let to = destination(f, &format!("{path}.destination"), mirror.destination.as_ref(), context);
        all.extend(to.map(|destination| Mirror { destination, fraction: share }));
    }
    all.retain(|mirror| mirror.fraction.numerator > 0);
    all
}

const ALL: Fraction = Fraction { numerator: 1_000_000, denominator: 1_000_000 };
