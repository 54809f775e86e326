//! How messages become the bytes of a call: with small buffers, and no more messages than the method has.

use std::collections::HashSet;
use std::marker::PhantomData;
use std::sync::LazyLock;

use bytes::{BufMut as _, Bytes};
use prost::{Message, Name};
use prost_types::FileDescriptorSet;
use tonic::Status;
use tonic::codec::{self, BufferSettings, DecodeBuf, EncodeBuf};
use tonic_prost::{ProstCodec, ProstDecoder};

/// What a call holds to encode into and to decode from, for as long as it lasts; either grows with its
/// messages. Most messages fit. The usual 8 KiB each would be most of what an idle watch costs, and are
/// more than allocators hand out from their fastest lists.
const BUFFER_BYTES: usize = 1_000;
/// How many bytes of a stream's messages are gathered before they are sent, as usual.
const YIELD_BYTES: usize = 32 << 10;
/// The largest message of which a copy is cheaper than that its bytes are written one by one.
const SMALL_BYTES: usize = 16 << 10;

fn settings() -> BufferSettings {
    BufferSettings::new(BUFFER_BYTES, YIELD_BYTES)
}

/// The messages that a call may have several of, by their full names with a dot before.
static STREAMED: LazyLock<HashSet<String>> = LazyLock::new(|| {
    let files = FileDescriptorSet::decode(super::DESCRIPTORS).unwrap_or_default().file;
    let services = files.into_iter().flat_map(|file| file.service);
    let methods = services.flat_map(|service| service.method);
    let streamed = methods.flat_map(|method| {
        let input = method.client_streaming().then(|| method.input_type().to_owned());
        let output = method.server_streaming().then(|| method.output_type().to_owned());
        [input, output]
    });
    streamed.flatten().collect()
});

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
    Encode: Outgoing + 'static,
    Decode: Message + Name + Default + 'static,
{
    type Encode = Encode;
    type Decode = Decode;
    type Encoder = Encoder<Encode>;
    type Decoder = Decoder<Decode>;

    fn encoder(&mut self) -> Self::Encoder {
        Encoder(PhantomData)
    }

    fn decoder(&mut self) -> Self::Decoder {
        Decoder {
            messages: ProstCodec::<Decode, Decode>::raw_decoder(settings()),
            decoded: false,
            may_go_on: None,
        }
    }
}

/// What a call can send: a message, or one that is encoded already.
pub trait Outgoing: Send {
    /// Writes the encoded message.
    fn write(self, buffer: &mut EncodeBuf<'_>);
}

impl<M: Message> Outgoing for M {
    fn write(self, buffer: &mut EncodeBuf<'_>) {
        // prost writes tags and numbers byte by byte. Into a call's buffer each takes a call of a function; into a
        // vector it is compiled into the encoding.
        if self.encoded_len() <= SMALL_BYTES {
            buffer.put_slice(&self.encode_to_vec());
        } else {
            self.encode_raw(buffer);
        }
    }
}

/// An encoded message of type `M`, whose bytes many calls may share.
#[derive(Clone, Debug)]
pub struct Encoded<M> {
    shared: Bytes,
    own: Vec<u8>,
    of: PhantomData<M>,
}

impl<M: Message + Default> Encoded<M> {
    /// Of a message's bytes.
    pub fn new(shared: Bytes) -> Self {
        Self { shared, own: Vec::new(), of: PhantomData }
    }

    /// With fields that only this call sends, and that are not set so far.
    pub fn with(mut self, own: &M) -> Self {
        // The encodings of two messages one after the other are the encoding of both merged.
        // Source: https://protobuf.dev/programming-guides/encoding/#last-one-wins
        self.own = own.encode_to_vec();
        self
    }
}

impl<M: Send> Outgoing for Encoded<M> {
    fn write(self, buffer: &mut EncodeBuf<'_>) {
        buffer.put_slice(&self.shared);
        buffer.put_slice(&self.own);
    }
}

/// Encodes the messages of one direction of a call.
#[derive(Debug)]
pub struct Encoder<T>(PhantomData<T>);

impl<T: Outgoing> codec::Encoder for Encoder<T> {
    type Item = T;
    type Error = Status;

    fn encode(&mut self, message: T, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        message.write(buffer);
        Ok(())
    }

    fn buffer_settings(&self) -> BufferSettings {
        settings()
    }
}

/// Decodes the messages of one direction of a call.
#[derive(Debug)]
pub struct Decoder<T> {
    messages: ProstDecoder<T>,
    decoded: bool,
    /// Whether there may be more than one; asked for at the second.
    may_go_on: Option<bool>,
}

impl<T: Message + Name + Default> codec::Decoder for Decoder<T> {
    type Item = T;
    type Error = Status;

    fn decode(&mut self, source: &mut DecodeBuf<'_>) -> Result<Option<T>, Status> {
        // tonic reads a call that has one message to its end, and would drop any other.
        let may_go_on = || STREAMED.contains(&format!(".{}", T::full_name()));
        if self.decoded && !*self.may_go_on.get_or_insert_with(may_go_on) {
            return Err(Status::invalid_argument("a call of this method has one message"));
        }
        let message = self.messages.decode(source)?;
        self.decoded |= message.is_some();
        Ok(message)
    }

    fn buffer_settings(&self) -> BufferSettings {
        self.messages.buffer_settings()
    }
}
