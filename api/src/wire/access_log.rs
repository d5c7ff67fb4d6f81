//! Pure. Access logs: files and the standard streams, as text or JSON.

use super::any::{config_type, pack_in_order, unpack};
use super::refusal::{At, Refusal, nothing_left, refuse, required};
use super::stable::{FILE_LOG, STREAM_LOG};
use super::value::{from_struct, to_struct};
use super::xds::Any;
use crate::format::defaults;
use crate::model::access_log::{AccessLog, JsonFormat, LogFormat, LogSink};
use envoy_types::pb::envoy::config::accesslog::v3 as wire;
use envoy_types::pb::envoy::config::core::v3::data_source::Specifier;
use envoy_types::pb::envoy::config::core::v3::substitution_format_string::Format;
use envoy_types::pb::envoy::config::core::v3::{DataSource, SubstitutionFormatString};
use envoy_types::pb::envoy::extensions::access_loggers::file::v3::{
    FileAccessLog, file_access_log::AccessLogFormat as FileFormat,
};
use envoy_types::pb::envoy::extensions::access_loggers::stream::v3::{
    StderrAccessLog, StdoutAccessLog, stderr_access_log::AccessLogFormat as StderrFormat,
    stdout_access_log::AccessLogFormat as StdoutFormat,
};
use envoy_types::pb::google::protobuf::Struct;
use prost::Name;

pub(super) fn decode(mut log: wire::AccessLog) -> Result<AccessLog, Refusal> {
    let name = std::mem::take(&mut log.name);
    let Some(wire::access_log::ConfigType::TypedConfig(config)) = log.config_type.take() else {
        return required(None, "typed_config");
    };
    nothing_left(&log)?;
    let kind = config_type(&config)?;
    if kind == FileAccessLog::full_name() {
        file(&config).at("typed_config")
    } else if kind == StdoutAccessLog::full_name() {
        stdout(&config).at("typed_config")
    } else if kind == StderrAccessLog::full_name() {
        stderr(&config).at("typed_config")
    } else {
        refuse(format!("access log {name} ({kind}) is not supported"))
    }
}

pub(super) fn encode(log: &AccessLog) -> wire::AccessLog {
    let (name, config) = match &log.sink {
        LogSink::Stdout => ("envoy.access_loggers.file", wire_file("/dev/stdout", log)),
        LogSink::File(path) => ("envoy.access_loggers.file", wire_file(path, log)),
        LogSink::Stderr => {
            let format = StderrFormat::LogFormat(wire_format(&log.format, log.omit_empty));
            let config = StderrAccessLog { access_log_format: Some(format) };
            ("envoy.access_loggers.stderr", pack_in_order(&config, &STREAM_LOG))
        }
    };
    wire::AccessLog {
        name: name.into(),
        filter: None,
        config_type: Some(wire::access_log::ConfigType::TypedConfig(config)),
    }
}

fn wire_file(path: &str, log: &AccessLog) -> Any {
    let format = FileFormat::LogFormat(wire_format(&log.format, log.omit_empty));
    pack_in_order(&FileAccessLog { path: path.to_owned(), access_log_format: Some(format) }, &FILE_LOG)
}

#[allow(deprecated)]
fn file(config: &Any) -> Result<AccessLog, Refusal> {
    let config: FileAccessLog = unpack(config)?;
    let (format, omit_empty) = match config.access_log_format {
        None => Ok(envoys()),
        Some(FileFormat::Format(line)) => Ok((text(line), false)),
        Some(FileFormat::JsonFormat(object) | FileFormat::TypedJsonFormat(object)) => {
            Ok((json(&object), false))
        }
        Some(FileFormat::LogFormat(format)) => decode_format(format).at("log_format"),
    }?;
    let sink = match config.path.as_str() {
        "" => return required(None, "path"),
        "/dev/stdout" => LogSink::Stdout,
        "/dev/stderr" => LogSink::Stderr,
        path => LogSink::File(path.to_owned()),
    };
    Ok(AccessLog { sink, format, omit_empty })
}

fn stdout(config: &Any) -> Result<AccessLog, Refusal> {
    let config: StdoutAccessLog = unpack(config)?;
    let format = config.access_log_format.map(|StdoutFormat::LogFormat(format)| format);
    stream(LogSink::Stdout, format)
}

fn stderr(config: &Any) -> Result<AccessLog, Refusal> {
    let config: StderrAccessLog = unpack(config)?;
    let format = config.access_log_format.map(|StderrFormat::LogFormat(format)| format);
    stream(LogSink::Stderr, format)
}

fn stream(sink: LogSink, format: Option<SubstitutionFormatString>) -> Result<AccessLog, Refusal> {
    let (format, omit_empty) = format.map_or(Ok(envoys()), |f| decode_format(f).at("log_format"))?;
    Ok(AccessLog { sink, format, omit_empty })
}

/// The format of a log that sets none.
fn envoys() -> (LogFormat, bool) {
    (LogFormat::Text(defaults::ENVOY.into()), false)
}

/// A format, and whether it omits missing values.
#[allow(deprecated)]
pub(super) fn decode_format(mut wire: SubstitutionFormatString) -> Result<(LogFormat, bool), Refusal> {
    let omit_empty = std::mem::take(&mut wire.omit_empty_values);
    let format = match wire.format.take() {
        Some(Format::TextFormat(line)) => Ok(text(line)),
        Some(Format::JsonFormat(object)) => Ok(json(&object)),
        Some(Format::TextFormatSource(source)) => match source.specifier {
            Some(Specifier::InlineString(line)) => Ok(text(line)),
            _ => refuse("only inline_string is supported").at("text_format_source"),
        },
        None => refuse("has no format"),
    }?;
    nothing_left(&wire)?;
    Ok((format, omit_empty))
}

pub(super) fn wire_format(format: &LogFormat, omit_empty: bool) -> SubstitutionFormatString {
    let format = match format {
        LogFormat::DefaultText => text_source(defaults::TEXT),
        LogFormat::Text(line) => text_source(line),
        LogFormat::Json(fields) => Format::JsonFormat(to_struct(&JsonFormat::object(fields))),
    };
    SubstitutionFormatString {
        format: Some(format),
        omit_empty_values: omit_empty,
        ..SubstitutionFormatString::default()
    }
}

fn text_source(line: &str) -> Format {
    let specifier = Some(Specifier::InlineString(line.to_owned()));
    Format::TextFormatSource(DataSource { specifier, ..DataSource::default() })
}

fn text(line: String) -> LogFormat {
    if line == defaults::TEXT { LogFormat::DefaultText } else { LogFormat::Text(line) }
}

fn json(object: &Struct) -> LogFormat {
    LogFormat::Json(JsonFormat::fields(&from_struct(object)))
}
