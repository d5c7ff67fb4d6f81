//! Envoy's discovery protocol (xDS) as state machines: what a server sends next, what a client requests next. They use
//! no sockets and no clocks, so that every order of messages, losses and reconnections can be tested as data.
//!
//! # Serving
//! One `server::Session` for each stream, in the mode of the method that was called. The server feeds it and sends
//! what comes back, in order:
//! ```text
//! let mut session = Session::new(Mode::Delta);
//! for request in stream  { send(session.request(request, &offer)) }   // a subscription, an ACK or a NACK
//! on a new configuration { send(session.push(&offer)) }               // only what changed for this client
//! session.is_holding_back() { after some seconds: send(session.release(&offer)) }
//! session.status()       // for /debug/syncz
//! ```
//! `Offer` is what the server has for this client at this moment; `offer::Resources` is a ready-made one. A version is
//! a hash of the content, so a client that reconnects (to any replica) gets only what differs from what it has.
//!
//! Order: clusters, endpoints, listeners, routes, secrets, the rest; at most one response of a type is on its way, and
//! changes that happen meanwhile are sent together after its ACK. Make before break: listeners and routes wait until
//! the clusters and endpoints sent before them are acknowledged; clusters and endpoints are removed only after the
//! listeners and routes that stopped using them are acknowledged. A client that never responds, or never requests the
//! endpoints of a cluster, would block updates for ever; `is_holding_back` and `release` end this wait.
//!
//! # Subscribing
//! `client::Client` keeps what is subscribed to and what has arrived; `connect::Stream` carries its messages, which
//! `sotw::Sotw` translates for a control plane without the delta protocol. `accept` is the service as callers without identity may use it.

pub mod accept;
pub mod connect;

pub mod client;
pub mod server;
pub mod sotw;

pub mod offer;
pub mod table;

#[cfg(test)]
mod tests;
