//! Pure. What rustls says to bytes of TLS: it is handed what has come, and hands back plaintext for the reader and
//! ciphertext for the peer. Both roles are driven by the same steps. Knows nothing of sockets.

use super::buffer::{Outgoing, Plain};
use bytes::BytesMut;
use rustls::client::UnbufferedClientConnection;
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{
    ConnectionState, EncodeError, EncodeTlsData, EncryptError, InsufficientSizeError, UnbufferedStatus,
    WriteTraffic,
};
use rustls::{CommonState, Error};

/// A connection's state in either role.
pub(super) enum Session {
    Client(UnbufferedClientConnection),
    Server(UnbufferedServerConnection),
}

/// What is to be done as soon as rustls lets us.
#[derive(Clone, Copy)]
pub(super) enum Want<'a> {
    /// Nothing but to understand what has come.
    Read,
    /// Plaintext to be sealed.
    Seal(&'a [u8]),
    /// The end of our side to be told.
    Close,
}

/// What a step has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// A record's plaintext was handed out.
    Read,
    /// There is something to tell the peer, or was.
    Said,
    /// What was wanted is done.
    Done,
    /// The peer has ended its side, and says no more.
    PeerClosed,
    /// Nothing can be done until more bytes come.
    Starved,
}

impl Session {
    /// What both roles know.
    pub(super) fn state(&self) -> &CommonState {
        match self {
            Self::Client(connection) => connection,
            Self::Server(connection) => connection,
        }
    }

    /// One step over the bytes that have come, and how many of them are done with. `incoming` begins with all bytes
    /// that earlier steps have left, unless the last one was `Step::Read`: then none are needed.
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

    /// What there is to tell the peer without looking at any more of what it says: after an error that is why the
    /// connection ends.
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
            // What was encoded goes out in the order in which it came: nothing overtakes it.
            data.done();
            Ok(Step::Said)
        }
        Ok(ConnectionState::WriteTraffic(traffic)) => write(traffic, want, outgoing),
        Ok(ConnectionState::PeerClosed) => Ok(Step::PeerClosed),
        Ok(ConnectionState::BlockedHandshake | ConnectionState::Closed) => Ok(Step::Starved),
        Ok(_) => Err(Error::General("early data, which nobody has offered".to_owned())),
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

/// Plaintext of the largest record.
pub(super) const RECORD: usize = 16 * 1024;
/// What TLS adds to a record at most: its head, the nonce of TLS 1.2 or the type of TLS 1.3, and the tag.
const OVERHEAD: usize = 32;
/// Room for an alert or an update of keys in front of what is sealed.
const SMALL: usize = 256;
