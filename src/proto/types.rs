//! The message types that JSON and reflection know: those of this program, and those of descriptor sets.
//!
//! A `Types` never changes; [`KnownTypes`] holds the current one.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use prost::{Message, Name};
use prost_reflect::DescriptorPool;
use prost_types::FileDescriptorProto;

use super::json::{self, JsonError, pool};

/// An encoded `FileDescriptorSet`, and what errors call it.
#[derive(Clone, Debug)]
pub struct DescriptorSet {
    /// Its name, for example that of its file.
    pub name: String,
    /// The set, as protoc and buf write it.
    pub bytes: Vec<u8>,
}

/// Why descriptor sets cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TypesError {
    /// The bytes are something else.
    #[error(
        "{0} is no set of descriptors: make it with `protoc --include_imports --descriptor_set_out`, \
         or with `buf build -o`"
    )]
    NoSet(String),
    /// Two sets have files of one name that differ.
    #[error(
        "{second} has another {file} than {first}: both must be made of the same version of it"
    )]
    Conflict {
        /// The path of the .proto file.
        file: String,
        /// The set that comes first.
        first: String,
        /// The other.
        second: String,
    },
    /// An import of a file is in no set.
    #[error(
        "{set}: {file} imports {import}, which is in no set: make the set with its imports \
         (`protoc --include_imports`, `buf build`)"
    )]
    MissingImport {
        /// The set.
        set: String,
        /// The path of its .proto file.
        file: String,
        /// The path that it imports.
        import: String,
    },
    /// A file breaks a rule of protobuf, or does not fit the others.
    #[error("{set}: {file}: {message}")]
    Invalid {
        /// The set.
        set: String,
        /// The path of its .proto file.
        file: String,
        /// The error.
        message: String,
    },
}

/// Message types by name. The default: those of this program.
#[derive(Clone, Debug, Default)]
pub struct Types(Option<Foreign>);

#[derive(Clone, Debug)]
struct Foreign {
    /// All types, those of this program included.
    pool: DescriptorPool,
    /// The files of the sets alone, encoded as they came: options that this program does not know stay in them.
    files: RawSet,
}

/// A `FileDescriptorSet` whose files are not decoded.
#[derive(Clone, PartialEq, Message)]
struct RawSet {
    #[prost(bytes = "vec", repeated, tag = "1")]
    file: Vec<Vec<u8>>,
}

impl Types {
    /// The types of this program and of these sets. Files that this program has itself, Google's common ones among them,
    /// are taken from it: it speaks its own version.
    pub fn with(sets: &[DescriptorSet]) -> Result<Self, TypesError> {
        let own = pool().map_err(|error| invalid("longrun", "", &error.message))?;
        let mut pool = own.clone();
        let mut owners: HashMap<String, (&str, FileDescriptorProto)> = HashMap::new();
        let (mut files, mut new) = (RawSet::default(), Vec::new());
        for DescriptorSet { name: set, bytes } in sets {
            let no_set = |_| TypesError::NoSet(set.clone());
            let raw = RawSet::decode(bytes.as_slice()).map_err(no_set)?;
            if raw.file.is_empty() {
                return Err(TypesError::NoSet(set.clone()));
            }
            for raw in raw.file {
                let mut file = FileDescriptorProto::decode(raw.as_slice()).map_err(no_set)?;
                let name = file.name().to_owned();
                if name.is_empty() {
                    return Err(TypesError::NoSet(set.clone()));
                }
                if own.get_file_by_name(&name).is_some() {
                    continue;
                }
                // Comments and positions are no difference.
                file.source_code_info = None;
                match owners.get(&name) {
                    Some((_, known)) if *known == file => continue,
                    Some((first, _)) => {
                        let (first, second) = ((*first).to_owned(), set.clone());
                        return Err(TypesError::Conflict { file: name, first, second });
                    }
                    None => {}
                }
                files.file.push(raw);
                new.push(file.clone());
                owners.insert(name, (set, file));
            }
        }
        for file in &new {
            let is_known =
                |name: &str| owners.contains_key(name) || own.get_file_by_name(name).is_some();
            if let Some(import) = file.dependency.iter().find(|import| !is_known(import)) {
                let (set, file) = (owners[file.name()].0.to_owned(), file.name().to_owned());
                return Err(TypesError::MissingImport { set, file, import: import.clone() });
            }
        }
        pool.add_file_descriptor_protos(new).map_err(|error| {
            let file = error.file().unwrap_or_default();
            let set = owners.get(file).map_or("the sets", |(set, _)| set);
            invalid(set, file, &error.to_string())
        })?;
        Ok(Self(Some(Foreign { pool, files })))
    }

    /// The files that sets have brought, as an encoded `FileDescriptorSet`.
    pub fn foreign_files(&self) -> Vec<u8> {
        self.0.as_ref().map_or_else(Vec::new, |foreign| foreign.files.encode_to_vec())
    }

    /// The message as a JSON value, every `Any` of a known type written out.
    pub fn to_value<M: Message + Name>(&self, message: &M) -> Result<serde_json::Value, JsonError> {
        json::to_value_of(self.pool()?, message)
    }

    /// The message in a JSON text, every `Any` in it of a known type.
    pub fn from_slice<M: Message + Name + Default>(&self, text: &[u8]) -> Result<M, JsonError> {
        json::from_slice_of(self.pool()?, text)
    }

    fn pool(&self) -> Result<&DescriptorPool, JsonError> {
        match &self.0 {
            Some(foreign) => Ok(&foreign.pool),
            None => pool(),
        }
    }
}

fn invalid(set: &str, file: &str, message: &str) -> TypesError {
    let (set, file, message) = (set.to_owned(), file.to_owned(), message.to_owned());
    TypesError::Invalid { set, file, message }
}

/// The types that are known at the time. Cheap to clone; all clones are of one place.
#[derive(Clone, Debug, Default)]
pub struct KnownTypes(Arc<RwLock<Arc<Types>>>);

impl KnownTypes {
    /// Those that are known now.
    pub fn get(&self) -> Arc<Types> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Replaces them for all that comes after.
    pub fn set(&self, types: Types) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(types);
    }
}
