//! Pure. What `up` says when everything is ready: the pods, the page, and what to try next.

use crate::view::table;
use crate::wire::PodLine;

/// The closing words of `up`. `page` is whether the bookinfo page is routed.
pub fn render(pods: &[PodLine], gateway: &str, page: bool) -> String {
    let rows: Vec<Vec<String>> = pods
        .iter()
        .map(|pod| vec![pod.name.clone(), pod.identity.clone(), pod.address.clone(), pod.ready.clone()])
        .collect();
    let table = table::render(&["NAME", "IDENTITY", "ADDRESS", "READY"], &rows);
    let address = if page { format!("http://{gateway}/productpage") } else { format!("http://{gateway}/") };
    let first = if page {
        "ostria apply -f samples/bookinfo/networking/virtual-service-reviews-80-20.yaml"
    } else {
        "ostria get pods -A"
    };
    let pod = pods.iter().find(|pod| pod.identity != "-").or(pods.first());
    let second = match pod {
        Some(pod) if pod.identity != "-" => {
            format!("ostria proxy-config clusters {} -n {}", pod.name, pod.namespace)
        }
        Some(pod) => format!("ostria logs {} -n {} -f", pod.name, pod.namespace),
        None => "ostria apply -f FOLDER".into(),
    };
    format!("\n{table}\nOpen  {address}\n\nTry   {first}\n      {second}\n      ostria status\n\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_and_three_things_to_try_are_named() {
        let pod = PodLine {
            namespace: "default".into(),
            name: "productpage-v1-x".into(),
            identity: "spiffe://cluster.local/ns/default/sa/bookinfo-productpage".into(),
            address: "10.244.0.3".into(),
            ready: "2/2".into(),
            ..PodLine::default()
        };
        let text = render(&[pod], "127.0.0.1:9080", true);
        assert!(text.contains("Open  http://127.0.0.1:9080/productpage\n"), "{text}");
        assert_eq!(text.matches("ostria ").count(), 3, "{text}");
    }
}
