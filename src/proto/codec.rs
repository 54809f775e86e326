//! How messages become bytes of a call: as usual, but with small buffers.

use std::marker::PhantomData;

use prost::Message;
use tonic::codec::{self, BufferSettings};
use tonic_prost::{ProstCodec, ProstDecoder, ProstEncoder};

/// What a call holds to encode into and to decode from, for as long as it lasts; either grows with its
/// messages. Most messages fit. The usual 8 KiB each would be most of what an idle watch costs, and are
/// more than allocators hand out from their fastest lists.
const BUFFER_BYTES: usize = 1_000;
/// How many bytes of a stream's messages are gathered before they are sent, as usual.
const YIELD_BYTES: usize = 32 << 10;

/// The codec of all calls.
#[derive(Clone, Copy, Debug)]
pub struct Codec<Encode, Decode>(PhantomData<(Encode, Decode)>);

impl<Encode, Decode> Default for Codec<Encode, Decode> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<Encode, Decode> codec::Codec for Codec<Encode, Decode>
where
    Encode: Message + 'static,
    Decode: Message + Default + 'static,
{
    type Encode = Encode;
    type Decode = Decode;
    type Encoder = ProstEncoder<Encode>;
    type Decoder = ProstDecoder<Decode>;

    fn encoder(&mut self) -> Self::Encoder {
        ProstCodec::<Encode, Decode>::raw_encoder(BufferSettings::new(BUFFER_BYTES, YIELD_BYTES))
    }

    fn decoder(&mut self) -> Self::Decoder {
        ProstCodec::<Encode, Decode>::raw_decoder(BufferSettings::new(BUFFER_BYTES, YIELD_BYTES))
    }
}
