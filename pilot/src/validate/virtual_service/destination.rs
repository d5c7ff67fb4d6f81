//! Pure. Validates destinations and their weights, for HTTP, TLS and TCP alike.

use super::context::Context;
use crate::catalog::host;
use crate::catalog::route::Destination;
use crate::check::finding::Findings;
use crate::check::value;
use api::resource::kind::virtual_service as written;

pub(super) fn destination(
    f: &mut Findings,
    path: &str,
    written: Option<&written::Destination>,
    context: Context,
) -> Option<Destination> {
    let Some(written) = written else {
        f.missing(path);
        return None;
    };
    let port = written.port.map(|p| value::port(f, &format!("{path}.port.number"), p.number.into()));
    if !written.subset.is_empty() && !value::is_label(&written.subset) {
        let reason = format!("`{}` is not a valid name: use letters, digits and '-'", written.subset);
        f.error(format!("{path}.subset"), reason, "correct it");
    }
    let at = format!("{path}.host");
    if written.host == "*" {
        f.error(at, "`*` is not a valid destination", "name a host");
        return None;
    }
    // `*.domain` refers to a ServiceEntry with that host.
    value::domain(f, &at, &written.host, true).then(|| Destination {
        host: host::complete(&written.host, context.own, context.domain),
        subset: written.subset.clone(),
        port,
    })
}

/// Returns weights relative to their sum. A single destination gets everything, whatever its weight.
pub(super) fn weights(f: &mut Findings, path: &str, written: &[i64]) -> Vec<u32> {
    let mut refused = false;
    let mut shares = vec![];
    for (i, weight) in written.iter().enumerate() {
        shares.push(i32::try_from(*weight).ok().and_then(|w| u32::try_from(w).ok()).unwrap_or_else(|| {
            refused = true;
            let reason = format!("{weight} is not a valid weight");
            f.error(format!("{path}[{i}].weight"), reason, "write a number from 0 to 2147483647");
            0
        }));
    }
    let sum: u64 = shares.iter().map(|w| u64::from(*w)).sum();
    if sum > u64::from(u32::MAX) {
        f.error(path, format!("the weights add up to {sum}"), "use smaller weights");
    }
    if shares.len() == 1 {
        return vec![1];
    }
    if sum == 0 && !refused && !shares.is_empty() {
        f.error(path, "all weights are 0: no request would have a destination", "set at least one weight");
    }
    if sum > 0 && sum != 100 && !refused {
        let percent =
            |weight: &u32| format!("{:.1} %", f64::from(*weight) * 100.0 / sum as f64).replace(".0 ", " ");
        let shares: Vec<String> = shares.iter().map(percent).collect();
        let reason =
            format!("the weights add up to {sum}, not 100: they are shares of {}", shares.join(", "));
        f.warn(path, reason, "ignore this if it is intended");
    }
    shares
}
