//! Messages of callers that nobody knows yet: a gRPC codec that holds them to a budget before it decodes them.

pub mod budget;

use budget::{Budget, Excess, check};
use bytes::Buf;
use prost::Message;
use std::marker::PhantomData;
use tonic::Status;
use tonic::codec::{Codec, DecodeBuf, Decoder};
use tonic_prost::ProstEncoder;

/// A message that is measured before it is decoded.
pub trait Bounded: Message + Default + Send + 'static {
    /// What it may have.
    const BUDGET: Budget;
}

/// As `tonic_prost::ProstCodec`, for requests `D` that keep to their budget and answers `E`.
#[derive(Debug)]
pub struct BoundedCodec<E, D>(PhantomData<(E, D)>);

impl<E, D> Default for BoundedCodec<E, D> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<E: Message + Send + 'static, D: Bounded> Codec for BoundedCodec<E, D> {
    type Encode = E;
    type Decode = D;
    type Encoder = ProstEncoder<E>;
    type Decoder = BoundedDecoder<D>;

    fn encoder(&mut self) -> Self::Encoder {
        ProstEncoder::default()
    }

    fn decoder(&mut self) -> Self::Decoder {
        BoundedDecoder(PhantomData)
    }
}

/// See `BoundedCodec`.
#[derive(Debug)]
pub struct BoundedDecoder<D>(PhantomData<D>);

impl<D: Bounded> Decoder for BoundedDecoder<D> {
    type Item = D;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<D>, Status> {
        // `DecodeBuf` holds one whole message in one piece.
        check(buffer.chunk(), &D::BUDGET).map_err(|excess| refusal(&excess))?;
        D::decode(buffer).map(Some).map_err(|error| refusal(&Excess::Malformed(error)))
    }
}

/// Malformed bytes are `INTERNAL`, as gRPC's list of status codes says.
fn refusal(excess: &Excess) -> Status {
    match excess {
        Excess::Malformed(_) => Status::internal(excess.to_string()),
        Excess::Bytes { .. } | Excess::Fields { .. } => Status::resource_exhausted(excess.to_string()),
    }
}
