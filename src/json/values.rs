//! Elements of a type that is known only when a request comes: one column among columns of other types.

use crate::{
    error::Result,
    json::{element::ReadElement, fault::Fault, reader::Reader},
    tensor::{data_type::DataType, shape::Shape, tensor::Tensor},
};

macro_rules! values {
    ($($data_type:ident($rust:ty)),+ $(,)?) => {
        /// Elements of one type, read one by one.
        #[derive(Debug)]
        pub enum Values {
            $(
                #[doc = concat!("Elements of type `", stringify!($rust), "`.")]
                $data_type(Vec<$rust>),
            )+
        }

        impl Values {
            /// Makes an empty list with room for `capacity` elements.
            pub fn new(data_type: DataType, capacity: usize) -> Self {
                match data_type {
                    $(DataType::$data_type => Self::$data_type(Vec::with_capacity(capacity)),)+
                }
            }

            /// Reads one more element.
            ///
            /// # Errors
            /// Those of [`ReadElement::read`].
            #[inline]
            pub fn read(&mut self, reader: &mut Reader<'_>) -> Result<(), Fault> {
                match self {
                    $(Self::$data_type(values) => values.push(ReadElement::read(reader)?),)+
                }
                Ok(())
            }

            /// Makes room for more elements.
            pub fn reserve(&mut self, additional: usize) {
                match self {
                    $(Self::$data_type(values) => values.reserve(additional),)+
                }
            }

            /// Puts the elements together, without copying them.
            ///
            /// # Errors
            /// Those of [`Tensor::from_vec`].
            pub fn into_tensor(self, shape: Shape) -> Result<Tensor> {
                match self {
                    $(Self::$data_type(values) => ReadElement::into_tensor(shape, values),)+
                }
            }
        }
    };
}

values! {
    Bool(bool),
    Uint8(u8), Uint16(u16), Uint32(u32), Uint64(u64),
    Int8(i8), Int16(i16), Int32(i32), Int64(i64),
    Fp16(half::f16), Bf16(half::bf16), Fp32(f32), Fp64(f64),
    Bytes(bytes::Bytes),
}
