//! Generates the project's part of Envoy's protobuf: `api/src/wire/envoy.binpb`, the descriptors for reading and writing
//! Envoy's JSON, and `api/envoy-types/src/generated`, the Rust types.
//!
//! The crate `envoy-types` of crates.io publishes the descriptors of all of Envoy (3 MB). This keeps the messages that a
//! mesh's configuration reaches, drops comments, options and services, and adds Istio's few messages, which no crate
//! publishes. Run it with `make descriptors` after an update of `envoy-types`, after adding a root, or after adding the
//! codec of an HTTP filter: the messages of filters are those that the files of `api/src/wire/filter` name as text.

use anyhow::{Context, Result, bail};
use prost::Message;
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{
    DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorProto, FileDescriptorSet,
    MessageOptions,
};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Messages that both outputs keep beside those of HTTP filters, with all messages that they refer to.
const ROOTS: &[&str] = &[
    "envoy.config.bootstrap.v3.Bootstrap",
    "envoy.config.listener.v3.Listener",
    "envoy.config.cluster.v3.Cluster",
    "envoy.config.route.v3.RouteConfiguration",
    "envoy.config.route.v3.FilterConfig",
    "envoy.config.endpoint.v3.ClusterLoadAssignment",
    "envoy.extensions.transport_sockets.tls.v3.Secret",
    "envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
    "envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
    "envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer",
    "envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
    "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
    "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
    "envoy.extensions.filters.network.rbac.v3.RBAC",
    "envoy.extensions.filters.listener.original_dst.v3.OriginalDst",
    "envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector",
    "envoy.extensions.filters.listener.http_inspector.v3.HttpInspector",
    "envoy.extensions.access_loggers.file.v3.FileAccessLog",
    "envoy.extensions.access_loggers.stream.v3.StdoutAccessLog",
    "envoy.extensions.access_loggers.stream.v3.StderrAccessLog",
    "envoy.extensions.load_balancing_policies.cluster_provided.v3.ClusterProvided",
    "envoy.extensions.load_balancing_policies.least_request.v3.LeastRequest",
    "envoy.extensions.load_balancing_policies.maglev.v3.Maglev",
    "envoy.extensions.load_balancing_policies.random.v3.Random",
    "envoy.extensions.load_balancing_policies.ring_hash.v3.RingHash",
    "envoy.extensions.load_balancing_policies.round_robin.v3.RoundRobin",
    "envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate",
    "envoy.extensions.request_id.uuid.v3.UuidRequestIdConfig",
    "envoy.extensions.network.dns_resolver.cares.v3.CaresDnsResolverConfig",
    "envoy.extensions.network.dns_resolver.getaddrinfo.v3.GetAddrInfoDnsResolverConfig",
    "envoy.admin.v3.ConfigDump",
    "envoy.admin.v3.BootstrapConfigDump",
    "envoy.admin.v3.ListenersConfigDump",
    "envoy.admin.v3.ClustersConfigDump",
    "envoy.admin.v3.RoutesConfigDump",
    "envoy.admin.v3.EndpointsConfigDump",
    "envoy.admin.v3.SecretsConfigDump",
    "google.protobuf.Struct",
    "xds.type.v3.TypedStruct",
    "udpa.type.v1.TypedStruct",
    "istio.envoy.config.filter.http.alpn.v2alpha1.FilterConfig",
    "stats.PluginConfig",
];

/// Messages that only become Rust types: the discovery protocol has no JSON form here.
const RUST: &[&str] = &[
    "envoy.service.discovery.v3.DiscoveryRequest",
    "envoy.service.discovery.v3.DiscoveryResponse",
    "envoy.service.discovery.v3.DeltaDiscoveryRequest",
    "envoy.service.discovery.v3.DeltaDiscoveryResponse",
];

/// The service for which a Rust client and server are generated.
const SERVICE: (&str, &str) = ("envoy.service.discovery.v3", "AggregatedDiscoveryService");

/// Packages whose messages do not become Rust types: configuration dumps and Istio's messages are only written as JSON.
const JSON: &[&str] = &["envoy.admin.", "xds.type.v3.", "udpa.", "istio.", "stats."];

fn main() -> Result<()> {
    // Read at run time, because clones of the project may share a target folder, and with it this program.
    let package = std::env::var_os("CARGO_MANIFEST_DIR").context("run this with `make descriptors`")?;
    let package = Path::new(&package);
    let source = source(package)?;
    let bytes = std::fs::read(&source).with_context(|| format!("reading {}", source.display()))?;
    let whole = FileDescriptorSet::decode(bytes.as_slice()).context("reading the descriptors")?;
    let api = package.join("../..");
    let filters = filters(&api.join("src/wire/filter"))?;
    let roots: Vec<&str> = ROOTS.iter().copied().chain(filters.iter().map(String::as_str)).collect();
    write_types(&whole, &roots, &api.join("envoy-types/src/generated"))?;
    write_descriptors(whole, &roots, &api.join("src/wire/envoy.binpb"))
}

/// The messages of HTTP filters, which their codecs name as text.
fn filters(folder: &Path) -> Result<BTreeSet<String>> {
    let mut found = BTreeSet::new();
    let files = std::fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))?;
    for file in files {
        let path = file.with_context(|| format!("reading {}", folder.display()))?.path();
        let code = std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
        for (at, _) in code.match_indices(FILTER) {
            let name = code[at + 1..].split('"').next().unwrap_or_default();
            found.insert(name.to_owned());
        }
    }
    if found.is_empty() {
        bail!("no file of {} names a message of a filter", folder.display());
    }
    Ok(found)
}

/// How the name of a filter's message begins in the code.
const FILTER: &str = "\"envoy.extensions.filters.http.";

fn write_descriptors(mut whole: FileDescriptorSet, roots: &[&str], target: &Path) -> Result<()> {
    whole.file.extend(istio());
    let trimmed = trim(&whole, roots.iter().copied())?;
    let bytes = trimmed.encode_to_vec();
    std::fs::write(target, &bytes).with_context(|| format!("writing {}", target.display()))?;
    println!("{}: {} files, {} bytes", target.display(), trimmed.file.len(), bytes.len());
    Ok(())
}

fn write_types(whole: &FileDescriptorSet, roots: &[&str], target: &Path) -> Result<()> {
    let roots = roots.iter().chain(RUST).filter(|root| !JSON.iter().any(|package| root.starts_with(package)));
    let mut trimmed = trim(whole, roots.copied())?;
    let (package, service) = SERVICE;
    let mut services =
        whole.file.iter().filter(|file| file.package() == package).flat_map(|file| &file.service);
    let service =
        services.find(|s| s.name() == service).context("the service is not among the descriptors")?;
    let file = trimmed.file.iter_mut().rev().find(|file| file.package() == package);
    file.context("the messages of the service are roots")?.service.push(service.clone());
    if target.exists() {
        std::fs::remove_dir_all(target).with_context(|| format!("emptying {}", target.display()))?;
    }
    std::fs::create_dir_all(target).with_context(|| format!("making {}", target.display()))?;
    let mut config = prost_build::Config::new();
    config.enable_type_names().type_name_domain(["."], "type.googleapis.com").compile_well_known_types();
    config.out_dir(target).include_file("mod.rs");
    tonic_prost_build::configure()
        .out_dir(target)
        .compile_fds_with_config(trimmed, config)
        .context("generating Rust")?;
    println!("{}: {} files", target.display(), std::fs::read_dir(target)?.count());
    Ok(())
}

/// The file with the descriptors in cargo's copy of `envoy-types`.
fn source(package: &Path) -> Result<PathBuf> {
    let cargo = env!("CARGO");
    let output = Command::new(cargo)
        .args(["metadata", "--format-version", "1", "--all-features", "--manifest-path"])
        .arg(package.join("Cargo.toml"))
        .output();
    let output = output.context("running cargo metadata")?;
    if !output.status.success() {
        bail!("cargo metadata failed: {}", String::from_utf8_lossy(&output.stderr));
    }
    let metadata: serde_json::Value =
        serde_json::from_slice(&output.stdout).context("reading the output of cargo metadata")?;
    let packages = metadata["packages"].as_array().context("cargo metadata lists no packages")?;
    let manifest = packages
        .iter()
        .find(|p| p["name"] == "envoy-types")
        .and_then(|p| p["manifest_path"].as_str())
        .context("envoy-types is not a dependency")?;
    Ok(PathBuf::from(manifest).with_file_name("src").join("generated").join("types.bin"))
}

/// Keeps the roots and what they refer to.
fn trim<'a>(whole: &FileDescriptorSet, roots: impl Iterator<Item = &'a str>) -> Result<FileDescriptorSet> {
    let mut home: BTreeMap<String, (usize, String)> = BTreeMap::new();
    for (index, file) in whole.file.iter().enumerate() {
        for message in &file.message_type {
            note(&mut home, index, file.package(), message.name(), message);
        }
        for value in &file.enum_type {
            let name = full(file.package(), value.name());
            home.insert(name.clone(), (index, name));
        }
    }
    let mut kept: BTreeSet<String> = BTreeSet::new();
    let mut open: Vec<String> = roots.map(ToOwned::to_owned).collect();
    while let Some(name) = open.pop() {
        let Some((index, top)) = home.get(&name) else { bail!("{name} is not among the descriptors") };
        if !kept.insert(top.clone()) {
            continue;
        }
        let file = &whole.file[*index];
        let message = file.message_type.iter().find(|m| full(file.package(), m.name()) == *top);
        if let Some(message) = message {
            references(message, &mut open);
        }
    }
    let files = whole.file.iter().filter_map(|file| trim_file(file, &kept, &home, whole)).collect();
    Ok(FileDescriptorSet { file: in_order(files) })
}

/// Records for a message, and all messages and enums inside it, the file and the outermost message that contain it.
fn note(
    home: &mut BTreeMap<String, (usize, String)>,
    index: usize,
    scope: &str,
    top: &str,
    message: &DescriptorProto,
) {
    let name = full(scope, message.name());
    let top = if home.contains_key(scope) { home[scope].1.clone() } else { full(scope, top) };
    home.insert(name.clone(), (index, top.clone()));
    for inner in &message.nested_type {
        note(home, index, &name, message.name(), inner);
    }
    for value in &message.enum_type {
        home.insert(full(&name, value.name()), (index, top.clone()));
    }
}

fn references(message: &DescriptorProto, open: &mut Vec<String>) {
    open.extend(message.field.iter().filter_map(|f| f.type_name.as_deref()).map(plain));
    for inner in &message.nested_type {
        references(inner, open);
    }
}

fn trim_file(
    file: &FileDescriptorProto,
    kept: &BTreeSet<String>,
    home: &BTreeMap<String, (usize, String)>,
    whole: &FileDescriptorSet,
) -> Option<FileDescriptorProto> {
    let wanted = |name: &str| kept.contains(&full(file.package(), name));
    let messages: Vec<DescriptorProto> =
        file.message_type.iter().filter(|m| wanted(m.name())).map(trim_message).collect();
    let enums: Vec<EnumDescriptorProto> =
        file.enum_type.iter().filter(|e| wanted(e.name())).map(trim_enum).collect();
    if messages.is_empty() && enums.is_empty() {
        return None;
    }
    let mut used = vec![];
    for message in &messages {
        references(message, &mut used);
    }
    let imports: BTreeSet<String> = used
        .iter()
        .filter_map(|name| home.get(name))
        .map(|(index, _)| whole.file[*index].name().to_owned())
        .filter(|name| name != file.name())
        .collect();
    Some(FileDescriptorProto {
        name: file.name.clone(),
        package: file.package.clone(),
        dependency: imports.into_iter().collect(),
        message_type: messages,
        enum_type: enums,
        syntax: file.syntax.clone(),
        ..FileDescriptorProto::default()
    })
}

fn trim_message(message: &DescriptorProto) -> DescriptorProto {
    let map_entry = message.options.as_ref().and_then(|o| o.map_entry);
    let mut trimmed = message.clone();
    trimmed.options = map_entry.map(|_| MessageOptions { map_entry, ..MessageOptions::default() });
    for field in &mut trimmed.field {
        field.options = None;
        field.json_name = None;
    }
    for one in &mut trimmed.oneof_decl {
        one.options = None;
    }
    trimmed.reserved_name.clear();
    trimmed.reserved_range.clear();
    trimmed.extension.clear();
    trimmed.extension_range.clear();
    trimmed.nested_type = message.nested_type.iter().map(trim_message).collect();
    trimmed.enum_type = message.enum_type.iter().map(trim_enum).collect();
    trimmed
}

fn trim_enum(value: &EnumDescriptorProto) -> EnumDescriptorProto {
    let alias = value.options.as_ref().and_then(|o| o.allow_alias);
    let mut trimmed = value.clone();
    trimmed.options =
        alias.map(|_| prost_types::EnumOptions { allow_alias: alias, ..prost_types::EnumOptions::default() });
    trimmed.reserved_name.clear();
    trimmed.reserved_range.clear();
    for item in &mut trimmed.value {
        item.options = None;
    }
    trimmed
}

/// Files after those they import.
fn in_order(mut files: Vec<FileDescriptorProto>) -> Vec<FileDescriptorProto> {
    let mut sorted: Vec<FileDescriptorProto> = vec![];
    while !files.is_empty() {
        let known: BTreeSet<String> = sorted.iter().map(|f| f.name().to_owned()).collect();
        let (ready, waiting): (Vec<_>, Vec<_>) =
            files.into_iter().partition(|f| f.dependency.iter().all(|d| known.contains(d)));
        assert!(!ready.is_empty(), "imports form a cycle");
        sorted.extend(ready);
        files = waiting;
    }
    sorted
}

/// Istio's own messages that occur in configuration.
fn istio() -> Vec<FileDescriptorProto> {
    let typed_struct = || {
        message("TypedStruct", vec![text(1, "type_url"), holds(2, "value", ".google.protobuf.Struct", false)])
    };
    let alpn = DescriptorProto {
        enum_type: vec![protocols()],
        nested_type: vec![message(
            "AlpnOverride",
            vec![
                FieldDescriptorProto {
                    r#type: Some(Type::Enum.into()),
                    ..holds(1, "upstream_protocol", &format!(".{ALPN}.FilterConfig.Protocol"), false)
                },
                FieldDescriptorProto { label: Some(Label::Repeated.into()), ..text(2, "alpn_override") },
            ],
        )],
        ..message(
            "FilterConfig",
            vec![holds(1, "alpn_override", &format!(".{ALPN}.FilterConfig.AlpnOverride"), true)],
        )
    };
    vec![
        file("xds.type.v3", vec![typed_struct()]),
        file("udpa.type.v1", vec![typed_struct()]),
        file(ALPN, vec![alpn]),
        file("stats", vec![message("PluginConfig", vec![])]),
    ]
}

fn file(package: &str, messages: Vec<DescriptorProto>) -> FileDescriptorProto {
    FileDescriptorProto {
        name: Some(format!("{}/istio.proto", package.replace('.', "/"))),
        package: Some(package.into()),
        message_type: messages,
        syntax: Some("proto3".into()),
        ..FileDescriptorProto::default()
    }
}

fn message(name: &str, field: Vec<FieldDescriptorProto>) -> DescriptorProto {
    DescriptorProto { name: Some(name.into()), field, ..DescriptorProto::default() }
}

fn text(number: i32, name: &str) -> FieldDescriptorProto {
    FieldDescriptorProto {
        name: Some(name.into()),
        number: Some(number),
        label: Some(Label::Optional.into()),
        r#type: Some(Type::String.into()),
        ..FieldDescriptorProto::default()
    }
}

fn holds(number: i32, name: &str, kind: &str, repeated: bool) -> FieldDescriptorProto {
    let label = if repeated { Label::Repeated } else { Label::Optional };
    FieldDescriptorProto {
        label: Some(label.into()),
        r#type: Some(Type::Message.into()),
        type_name: Some(kind.into()),
        ..text(number, name)
    }
}

fn protocols() -> EnumDescriptorProto {
    let value = |(number, name): (usize, &&str)| prost_types::EnumValueDescriptorProto {
        name: Some((*name).to_owned()),
        number: i32::try_from(number).ok(),
        options: None,
    };
    EnumDescriptorProto {
        name: Some("Protocol".into()),
        value: ["HTTP10", "HTTP11", "HTTP2"].iter().enumerate().map(value).collect(),
        ..EnumDescriptorProto::default()
    }
}

fn full(scope: &str, name: &str) -> String {
    if scope.is_empty() { name.to_owned() } else { format!("{scope}.{name}") }
}

fn plain(type_name: &str) -> String {
    type_name.trim_start_matches('.').to_owned()
}

const ALPN: &str = "istio.envoy.config.filter.http.alpn.v2alpha1";
