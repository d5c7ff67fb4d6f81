//! The configuration of the proxies under test: a static Envoy file with a listener of each kind.

use super::process::Setup;

/// The listeners: HTTP to the upstream, a direct response, opaque bytes, protocol detection as on a sidecar's
/// inbound port, and TLS.
pub(crate) const LISTENERS: [&str; 5] = ["web", "direct", "opaque", "inbound", "tls"];

/// The text of the file.
pub(crate) fn text(setup: &Setup, admin: u16, log: &str) -> String {
    let forward = format!("route: {{cluster: app, {}}}", setup.route);
    let direct = "direct_response: {status: 200, body: {inline_string: alive}}".to_owned();
    let web = http(setup, &forward, log);
    let mut listeners = [
        listener("web", "", &chain("", "", &web)),
        listener("direct", "", &chain("", "", &http(setup, &direct, log))),
        listener("opaque", "", &chain("", "", &tcp(log))),
    ]
    .concat();
    listeners += &inbound(setup, &web, log);
    let socket = setup.certificates.as_ref().map(|folder| tls(folder.to_str().unwrap())).unwrap_or_default();
    listeners += &listener("tls", "", &chain("", &socket, &web));
    let Setup { upstream, .. } = setup;
    let http2 = if setup.upstream_http2 { HTTP2 } else { "" };
    format!(
        r"node: {{id: test, cluster: test}}
admin: {{address: {{socket_address: {{address: 127.0.0.1, port_value: {admin}}}}}}}
static_resources:
  clusters:
  - name: app
    type: STATIC
    connect_timeout: 2s
{http2}    load_assignment:
      cluster_name: app
      endpoints:
      - lb_endpoints:
        - endpoint: {{address: {{socket_address: {{address: {ip}, port_value: {port}}}}}}}
  listeners:
{listeners}",
        ip = upstream.ip(),
        port = upstream.port(),
    )
}

/// A listener that detects TLS and HTTP by their first bytes; other bytes pass through unchanged.
fn inbound(setup: &Setup, web: &str, log: &str) -> String {
    let options = r#"    listener_filters_timeout: 1s
    continue_on_listener_filters_timeout: true
    listener_filters:
    - name: envoy.filters.listener.tls_inspector
      typed_config:
        "@type": type.googleapis.com/envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector
    - name: envoy.filters.listener.http_inspector
      typed_config:
        "@type": type.googleapis.com/envoy.extensions.filters.listener.http_inspector.v3.HttpInspector
"#;
    let raw = "transport_protocol: raw_buffer";
    let mut chains = chain(&format!("{raw}, application_protocols: [http/1.0, http/1.1, h2c]"), "", web);
    chains += &chain(raw, "", &tcp(log));
    if let Some(folder) = &setup.certificates {
        let folder = folder.to_str().unwrap();
        let names = "transport_protocol: tls, server_names: [known.example]";
        chains += &chain(names, &tls(folder), web);
    }
    listener("inbound", options, &chains)
}

fn listener(name: &str, options: &str, chains: &str) -> String {
    format!(
        r"  - name: {name}
    address: {{socket_address: {{address: 127.0.0.1, port_value: 0}}}}
{options}    filter_chains:
{chains}"
    )
}

fn chain(criteria: &str, socket: &str, filter: &str) -> String {
    let criteria = if criteria.is_empty() {
        String::new()
    } else {
        format!("      filter_chain_match: {{{criteria}}}\n")
    };
    format!("    - name: \"{}\"\n{criteria}{socket}      filters:\n{filter}", criteria.len())
}

fn tls(folder: &str) -> String {
    format!(
        r#"      transport_socket:
        name: envoy.transport_sockets.tls
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext
          common_tls_context:
            alpn_protocols: [h2, http/1.1]
            tls_certificates:
            - certificate_chain: {{filename: {folder}/server.pem}}
              private_key: {{filename: {folder}/server.key}}
"#
    )
}

fn http(setup: &Setup, action: &str, log: &str) -> String {
    let options: Vec<String> = setup.http.lines().map(|line| format!("          {line}\n")).collect();
    let options = options.concat();
    format!(
        r#"      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: http
{options}          access_log:
{log}          http_filters:
          - name: envoy.filters.http.router
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router
          route_config:
            name: local
            virtual_hosts:
            - name: all
              domains: ["*"]
              routes:
              - match: {{prefix: "/"}}
                {action}
"#,
        log = access_log(log),
    )
}

fn tcp(log: &str) -> String {
    format!(
        r#"      - name: envoy.filters.network.tcp_proxy
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy
          stat_prefix: tcp
          cluster: app
          access_log:
{}"#,
        access_log(log)
    )
}

fn access_log(path: &str) -> String {
    format!(
        r#"          - name: envoy.access_loggers.file
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog
              path: {path}
              log_format:
                text_format_source:
                  inline_string: "%REQ(:PATH)% %PROTOCOL% code=%RESPONSE_CODE% flags=%RESPONSE_FLAGS% details=%RESPONSE_CODE_DETAILS% tries=%UPSTREAM_REQUEST_ATTEMPT_COUNT%\n"
"#
    )
}

const HTTP2: &str = r#"    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        explicit_http_config: {http2_protocol_options: {}}
"#;
