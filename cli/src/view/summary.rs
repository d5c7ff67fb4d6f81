//! Pure. The final message of `up`: the pods, the address of the page, and commands to try.

use crate::view::table;
use crate::wire::PodLine;

/// Facts that the final message mentions.
#[derive(Debug, Clone, Default)]
pub struct Hints {
    /// The command as the user typed it.
    pub program: String,
    /// Flags that other commands need to find this mesh.
    pub flags: String,
    /// Address of the gateway, if a gateway serves HTTP.
    pub gateway: Option<String>,
    /// Whether the bookinfo page has a route.
    pub page: bool,
    /// File of a rule to try, as a path for the user's shell.
    pub rule: Option<String>,
}

/// Renders the final message.
pub fn render(pods: &[PodLine], hints: &Hints) -> String {
    let rows: Vec<Vec<String>> = pods
        .iter()
        .map(|pod| vec![pod.name.clone(), pod.identity.clone(), pod.address.clone(), pod.ready.clone()])
        .collect();
    let table = table::render(&["NAME", "IDENTITY", "ADDRESS", "READY"], &rows);
    let path = if hints.page { "productpage" } else { "" };
    let open = hints.gateway.as_ref().map(|gateway| format!("Open  http://{gateway}/{path}\n\n"));
    let first = hints.rule.as_ref().filter(|_| hints.page).map(|rule| format!("apply -f {rule}"));
    let pod = pods.iter().find(|pod| pod.identity != "-").or(pods.first());
    let second = match pod {
        Some(pod) if pod.identity != "-" => {
            format!("proxy-config clusters {} -n {}", pod.name, pod.namespace)
        }
        Some(pod) => format!("logs {} -n {} -f", pod.name, pod.namespace),
        None => "apply -f FOLDER".into(),
    };
    let lines = [first.unwrap_or_else(|| "get pods -A".into()), second, "status".into()];
    let lines = lines.map(|line| format!("{} {line}{}", hints.program, hints.flags)).join("\n      ");
    format!("\n{table}\n{}Try   {lines}\n\n", open.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(hints: &Hints) -> String {
        let pod = PodLine {
            namespace: "default".into(),
            name: "productpage-v1-x".into(),
            identity: "spiffe://cluster.local/ns/default/sa/bookinfo-productpage".into(),
            address: "10.244.0.3".into(),
            ready: "2/2".into(),
            ..PodLine::default()
        };
        render(&[pod], hints)
    }

    #[test]
    fn the_printed_commands_work_as_printed() {
        let text = words(&Hints {
            program: "bin/ostria".into(),
            flags: " --state /tmp/x".into(),
            gateway: Some("127.0.0.1:9080".into()),
            page: true,
            rule: Some("../samples/rule.yaml".into()),
        });
        assert!(text.contains("Open  http://127.0.0.1:9080/productpage\n"), "{text}");
        assert!(text.contains("bin/ostria apply -f ../samples/rule.yaml --state /tmp/x\n"), "{text}");
        assert_eq!(text.matches("bin/ostria ").count(), 3, "{text}");
    }

    #[test]
    fn no_page_is_announced_without_a_gateway() {
        let text = words(&Hints { program: "ostria".into(), page: true, ..Hints::default() });
        assert!(
            !text.contains("Open") && !text.contains("apply") && text.contains("ostria get pods -A"),
            "{text}"
        );
    }
}
