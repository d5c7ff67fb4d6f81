//! Raw TCP: a line that says who answers, then every byte back.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::seen;
use crate::server::shared::Call;

/// Says nothing until the client has said something.
pub(super) async fn client_first(mut stream: TcpStream, call: &Call) -> std::io::Result<()> {
    let mut first = vec![0; 16 << 10];
    let length = stream.read(&mut first).await?;
    if length == 0 {
        return Ok(());
    }
    stream.write_all(seen::hello(&call.connection, &call.shared.place).as_bytes()).await?;
    stream.write_all(&first[..length]).await?;
    echo(stream).await
}

/// Greets at once.
pub(super) async fn server_first(mut stream: TcpStream, call: &Call) -> std::io::Result<()> {
    stream.write_all(seen::hello(&call.connection, &call.shared.place).as_bytes()).await?;
    echo(stream).await
}

/// A client that has finished sending still gets everything back before this side closes.
async fn echo(mut stream: TcpStream) -> std::io::Result<()> {
    let (mut reader, mut writer) = stream.split();
    tokio::io::copy(&mut reader, &mut writer).await?;
    writer.shutdown().await
}
