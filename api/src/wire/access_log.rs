//! Pure. Access logs: files and the standard streams, as text or JSON.

use super::any::{config_type, pack_in_order, unpack};
use super::refusal::{At, Refusal, nothing_left, refuse, required};
use super::stable::{FILE_LOG, STREAM_LOG};
use super::value::{from_struct, to_struct};
use super::xds::Any;
use crate::model::access_log::{AccessLog, DEFAULT_TEXT, LogFormat, LogSink};
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
use serde_json::Value;

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
        LogSink::Stdout => ("envoy.access_loggers.file", wire_file("/dev/stdout", &log.format)),
        LogSink::File(path) => ("envoy.access_loggers.file", wire_file(path, &log.format)),
        LogSink::Stderr => {
            let format = StderrFormat::LogFormat(wire_format(&log.format));
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

fn wire_file(path: &str, format: &LogFormat) -> Any {
    let format = FileFormat::LogFormat(wire_format(format));
    pack_in_order(&FileAccessLog { path: path.to_owned(), access_log_format: Some(format) }, &FILE_LOG)
}

#[allow(deprecated)]
fn file(config: &Any) -> Result<AccessLog, Refusal> {
    let config: FileAccessLog = unpack(config)?;
    let format = match config.access_log_format {
        None => Ok(LogFormat::Text(ENVOY_DEFAULT.into())),
        Some(FileFormat::Format(line)) => Ok(text(line)),
        Some(FileFormat::JsonFormat(object) | FileFormat::TypedJsonFormat(object)) => {
            json(&object).at("json_format")
        }
        Some(FileFormat::LogFormat(format)) => decode_format(format).at("log_format"),
    }?;
    let sink = match config.path.as_str() {
        "" => return required(None, "path"),
        "/dev/stdout" => LogSink::Stdout,
        "/dev/stderr" => LogSink::Stderr,
        path => LogSink::File(path.to_owned()),
    };
    Ok(AccessLog { sink, format })
}

fn stdout(config: &Any) -> Result<AccessLog, Refusal> {
    let config: StdoutAccessLog = unpack(config)?;
    let format = config.access_log_format.map(|StdoutFormat::LogFormat(format)| format);
    Ok(AccessLog { sink: LogSink::Stdout, format: stream_format(format)? })
}

fn stderr(config: &Any) -> Result<AccessLog, Refusal> {
    let config: StderrAccessLog = unpack(config)?;
    let format = config.access_log_format.map(|StderrFormat::LogFormat(format)| format);
    Ok(AccessLog { sink: LogSink::Stderr, format: stream_format(format)? })
}

fn stream_format(format: Option<SubstitutionFormatString>) -> Result<LogFormat, Refusal> {
    format.map_or(Ok(LogFormat::Text(ENVOY_DEFAULT.into())), |f| decode_format(f).at("log_format"))
}

#[allow(deprecated)]
pub(super) fn decode_format(mut wire: SubstitutionFormatString) -> Result<LogFormat, Refusal> {
    let format = match wire.format.take() {
        Some(Format::TextFormat(line)) => Ok(text(line)),
        Some(Format::JsonFormat(object)) => json(&object).at("json_format"),
        Some(Format::TextFormatSource(source)) => match source.specifier {
            Some(Specifier::InlineString(line)) => Ok(text(line)),
            _ => refuse("only inline_string is supported").at("text_format_source"),
        },
        None => refuse("has no format"),
    }?;
    nothing_left(&wire)?;
    Ok(format)
}

pub(super) fn wire_format(format: &LogFormat) -> SubstitutionFormatString {
    let format = match format {
        LogFormat::DefaultText => text_source(DEFAULT_TEXT),
        LogFormat::Text(line) => text_source(line),
        LogFormat::Json(fields) => {
            let object = fields.iter().map(|(k, v)| (k.clone(), Value::String(v.clone()))).collect();
            Format::JsonFormat(to_struct(&object))
        }
    };
    SubstitutionFormatString { format: Some(format), ..SubstitutionFormatString::default() }
}

fn text_source(line: &str) -> Format {
    let specifier = Some(Specifier::InlineString(line.to_owned()));
    Format::TextFormatSource(DataSource { specifier, ..DataSource::default() })
}

fn text(line: String) -> LogFormat {
    if line == DEFAULT_TEXT { LogFormat::DefaultText } else { LogFormat::Text(line) }
}

/// A `Struct` has no order, so keys are sorted, as Envoy writes them.
fn json(object: &Struct) -> Result<LogFormat, Refusal> {
    let mut fields = vec![];
    for (key, value) in from_struct(object) {
        match value {
            Value::String(text) => fields.push((key, text)),
            _ => return refuse("only strings are supported as values").at(&key),
        }
    }
    fields.sort_unstable();
    Ok(LogFormat::Json(fields))
}

/// The line that Envoy writes when no format is given.
const ENVOY_DEFAULT: &str = concat!(
    "[%START_TIME%] \"%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%\" ",
    "%RESPONSE_CODE% %RESPONSE_FLAGS% %BYTES_RECEIVED% %BYTES_SENT% %DURATION% ",
    "%RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% \"%REQ(X-FORWARDED-FOR)%\" \"%REQ(USER-AGENT)%\" ",
    "\"%REQ(X-REQUEST-ID)%\" \"%REQ(:AUTHORITY)%\" \"%UPSTREAM_HOST%\"\n",
);
