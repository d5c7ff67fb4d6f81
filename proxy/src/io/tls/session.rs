//! Pure. Drives the rustls state machine: takes received bytes, and yields plaintext for the reader and ciphertext
//! for the peer. Client and server are driven by the same steps. Does not deal with sockets.

use super::buffer::{Outgoing, Plain};
use bytes::BytesMut;
use rustls::client::UnbufferedClientConnection;
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{
    ConnectionState, EncodeError, EncodeTlsData, EncryptError, InsufficientSizeError, UnbufferedStatus,
    WriteTraffic,
};
use rustls::{CommonState, Error};

/// The TLS state of a client or a server.
pub(super) enum Session {
    Client(UnbufferedClientConnection),
    Server(UnbufferedServerConnection),
}

/// What to do as soon as rustls permits it.
#[derive(Clone, Copy)]
pub(super) enum Want<'a> {
    /// Only process received bytes.
    Read,
    /// Encrypt this plaintext.
    Seal(&'a [u8]),
    /// Send `close_notify`.
    Close,
}

/// The result of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// The plaintext of a record was delivered.
    Read,
    /// A message for the peer was encoded, or was passed on for sending.
    Said,
    /// What was wanted is done.
    Done,
    /// The peer has sent `close_notify`; no more of its data follows.
    PeerClosed,
    /// No progress is possible until more bytes arrive.
    Starved,
}

impl Session {
    /// The state common to both roles.
    pub(super) fn state(&self) -> &CommonState {
        match self {
            Self::Client(connection) => connection,
            Self::Server(connection) => connection,
        }
    }

    /// Processes one step of the received bytes. Returns how many of them are consumed. `incoming` must begin with
    /// all bytes that earlier steps have left, unless the last step was `Step::Read`: then none are needed.
    pub(super) fn step(
        &mut self,
        incoming: &mut [u8],
        want: Want<'_>,
        plain: &mut Plain<'_, '_>,
        outgoing: &mut Outgoing,
    ) -> (usize, Result<Step, Error>) {
        match self {
            Self::Client(connection) => act(connection.process_tls_records(incoming), want, plain, outgoing),
            Self::Server(connection) => act(connection.process_tls_records(incoming), want, plain, outgoing),
        }
    }

    /// Encodes messages for the peer without processing any more received bytes: after an error, the alert that
    /// explains it.
    pub(super) fn last_words(&mut self, outgoing: &mut Outgoing) {
        let mut rest = BytesMut::new();
        while self.state().wants_write() {
            let mut plain = Plain::new(None, &mut rest);
            if self.step(&mut [], Want::Read, &mut plain, outgoing).1 != Ok(Step::Said) {
                break;
            }
        }
    }
}

fn act<Data>(
    status: UnbufferedStatus<'_, '_, Data>,
    want: Want<'_>,
    plain: &mut Plain<'_, '_>,
    outgoing: &mut Outgoing,
) -> (usize, Result<Step, Error>) {
    let mut discard = status.discard;
    let step = match status.state {
        Err(error) => Err(error),
        Ok(ConnectionState::ReadTraffic(mut traffic)) => loop {
            match traffic.next_record() {
                Some(Ok(record)) => {
                    plain.put(record.payload);
                    discard += record.discard;
                }
                Some(Err(error)) => break Err(error),
                None => break Ok(Step::Read),
            }
        },
        Ok(ConnectionState::EncodeTlsData(data)) => encode(data, outgoing),
        Ok(ConnectionState::TransmitTlsData(data)) => {
            // Encoded bytes are sent in their order, so rustls may treat them as sent.
            data.done();
            Ok(Step::Said)
        }
        Ok(ConnectionState::WriteTraffic(traffic)) => write(traffic, want, outgoing),
        Ok(ConnectionState::PeerClosed) => Ok(Step::PeerClosed),
        Ok(ConnectionState::BlockedHandshake | ConnectionState::Closed) => Ok(Step::Starved),
        Ok(_) => Err(Error::General("early data, which was not offered".to_owned())),
    };
    (discard, step)
}

fn encode<Data>(mut data: EncodeTlsData<'_, Data>, outgoing: &mut Outgoing) -> Result<Step, Error> {
    let mut size = SMALL;
    loop {
        match data.encode(outgoing.room(size)) {
            Ok(written) => {
                outgoing.add(written);
                return Ok(Step::Said);
            }
            Err(EncodeError::InsufficientSize(InsufficientSizeError { required_size })) => {
                size = required_size;
            }
            Err(EncodeError::AlreadyEncoded) => return Ok(Step::Said),
        }
    }
}

fn write<Data>(
    mut traffic: WriteTraffic<'_, Data>,
    want: Want<'_>,
    outgoing: &mut Outgoing,
) -> Result<Step, Error> {
    let mut size = match want {
        Want::Read => return Ok(Step::Starved),
        Want::Seal(plain) => plain.len() + plain.len().div_ceil(RECORD) * OVERHEAD + SMALL,
        Want::Close => SMALL,
    };
    loop {
        let room = outgoing.room(size);
        let result = match want {
            Want::Seal(plain) => traffic.encrypt(plain, room),
            Want::Read | Want::Close => traffic.queue_close_notify(room),
        };
        match result {
            Ok(written) => {
                outgoing.add(written);
                return Ok(Step::Done);
            }
            Err(EncryptError::InsufficientSize(InsufficientSizeError { required_size })) => {
                size = required_size;
            }
            Err(EncryptError::EncryptExhausted) => return Err(Error::EncryptError),
        }
    }
}

/// The most plaintext in one record.
pub(super) const RECORD: usize = 16 * 1024;
/// The most overhead of a record: its header, the nonce of TLS 1.2 or the type byte of TLS 1.3, and the tag.
const OVERHEAD: usize = 32;
/// Room for an alert or a key update before the encrypted data.
const SMALL: usize = 256;
