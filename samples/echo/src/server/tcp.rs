//! Raw TCP: one line that identifies the server, then an echo of every byte.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::seen;
use crate::server::shared::Call;

/// Sends nothing until the client has sent something.
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

/// Sends the line at once.
pub(super) async fn server_first(mut stream: TcpStream, call: &Call) -> std::io::Result<()> {
    stream.write_all(seen::hello(&call.connection, &call.shared.place).as_bytes()).await?;
    echo(stream).await
}

/// Echoes bytes. A client that closes its sending side still gets everything back before this side closes.
async fn echo(mut stream: TcpStream) -> std::io::Result<()> {
    let (mut reader, mut writer) = stream.split();
    tokio::io::copy(&mut reader, &mut writer).await?;
    writer.shutdown().await
}
