//! Objects are written in parts, read whole and in part, copied, deleted and swept.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use http::Method;
use longrun::objects::{ObjectError, ObjectStream, Objects, sweep};
use longrun::operation::{ObjectId, StoredObject, Timestamp};

use crate::double::{S3, is_missing};

pub const SIZE: usize = 20 << 20;

pub fn contents(size: usize) -> Bytes {
    (0..size).map(|n| (n * n % 251) as u8).collect()
}

pub async fn upload(objects: &Objects, contents: &Bytes) -> Result<StoredObject, ObjectError> {
    let mut upload = objects.upload();
    for piece in contents.chunks(1 << 20) {
        if let Err(error) = upload.write(Bytes::copy_from_slice(piece)).await {
            upload.abort().await;
            return Err(error);
        }
    }
    upload.finish().await
}

pub async fn all(mut stream: ObjectStream) -> Result<Vec<u8>, ObjectError> {
    let mut read = Vec::new();
    while let Some(bytes) = stream.next().await {
        read.extend_from_slice(&bytes?);
    }
    Ok(read)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_is_written_in_parts_and_read_whole_and_in_part() {
    if is_missing() {
        return;
    }
    let (s3, contents) = (S3::start().await, contents(SIZE));
    let objects = s3.objects();
    let stored = upload(&objects, &contents).await.unwrap();
    assert_eq!(s3.asked(Method::PUT, "partNumber="), 3);
    assert_eq!(s3.unfinished().await, 0);
    assert_eq!(s3.keys().await, [format!("some/prefix/{}", stored.id)]);
    let size = contents.len() as u64;
    assert_eq!(objects.size(stored.id).await.unwrap(), Some(size));
    assert!(all(objects.read_whole(stored, size).await.unwrap()).await.unwrap() == contents);
    for part in [0..1, 5..5, 8 << 20..(8 << 20) + 3, size - 1..size] {
        let read = all(objects.read_part(stored.id, size, part.clone()).await.unwrap()).await;
        let expected = &contents[part.start as usize..part.end as usize];
        assert_eq!(read.unwrap(), expected, "{part:?}");
    }
    // What is small is one request.
    let small = upload(&objects, &contents.slice(..1_000)).await.unwrap();
    assert_eq!(s3.asked(Method::PUT, "partNumber="), 3);
    let copy = objects.copy(stored.id).await.unwrap();
    assert_eq!(objects.sha256(copy, size).await.unwrap(), stored.sha256);
    for id in [stored.id, small.id, copy, copy] {
        objects.delete(id).await.unwrap();
    }
    assert_eq!(s3.keys().await, [""; 0]);
    assert_eq!(objects.size(stored.id).await.unwrap(), None);
    let missing = objects.read_whole(stored, size).await.err();
    assert_eq!(missing, Some(ObjectError::Missing(stored.id)));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_as_it_was_written_is_refused_before_its_last_byte() {
    if is_missing() {
        return;
    }
    let (s3, contents) = (S3::start().await, contents(100_000));
    let objects = s3.objects();
    let stored = upload(&objects, &contents).await.unwrap();
    let (size, key) = (contents.len() as u64, format!("/bucket/some/prefix/{}", stored.id));
    let how = |read: Result<Vec<u8>, ObjectError>| match read {
        Err(ObjectError::Damaged { how, .. }) => how,
        other => panic!("{other:?}"),
    };
    let read = async || match objects.read_whole(stored, size).await {
        Ok(stream) => all(stream).await,
        Err(error) => Err(error),
    };
    let mut other = contents.to_vec();
    other[77_777] ^= 1;
    for (written, expected) in [
        (contents.slice(..99_999), "is cut off"),
        (Bytes::from([&contents[..], b"x"].concat()), "is longer than was recorded"),
        (Bytes::from(other), "does not have the SHA-256 that was recorded"),
        (Bytes::new(), "is cut off"),
    ] {
        s3.ask(Method::PUT, &key, written).await;
        assert_eq!(how(read().await), expected);
    }
    s3.ask(Method::PUT, &key, contents.clone()).await;
    assert!(read().await.unwrap() == contents);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sweep_deletes_what_nothing_refers_to_and_nothing_else() {
    if is_missing() {
        return;
    }
    let s3 = S3::start().await;
    let objects = s3.objects();
    // More than a page of the listing, and than a page of the sweep.
    let mut ids = Vec::new();
    for number in 0..1_203 {
        ids.push(upload(&objects, &Bytes::from(vec![number as u8; 10])).await.unwrap().id);
    }
    // Somebody else's.
    s3.ask(Method::PUT, "/bucket/some/prefix/notes.txt", Bytes::from_static(b"x")).await;
    s3.ask(Method::PUT, "/bucket/other/thing", Bytes::from_static(b"x")).await;
    let kept: BTreeSet<ObjectId> = ids.iter().step_by(3).copied().collect();
    let asked = Mutex::new(0);
    let known = |page: Vec<ObjectId>| {
        *asked.lock().unwrap() += 1;
        let known = page.iter().map(|id| kept.contains(id)).collect();
        std::future::ready(Ok::<Vec<bool>, &str>(known))
    };
    let now = {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        Timestamp::from_micros(i64::try_from(since.as_micros()).unwrap())
    };
    // Their commits may be under way.
    assert_eq!(sweep::orphans(&objects, now, known).await, Ok(0));
    assert_eq!(*asked.lock().unwrap(), 0);
    let later = now.after(sweep::GRACE + Duration::from_secs(60));
    let refused = |_| std::future::ready(Err::<Vec<bool>, _>("the store is away"));
    assert!(sweep::orphans(&objects, later, refused).await.is_err());
    assert_eq!(s3.keys().await.len(), 1_000, "a page");
    let gone = (ids.len() - kept.len()) as u64;
    assert_eq!(sweep::orphans(&objects, later, known).await, Ok(gone));
    assert_eq!(*asked.lock().unwrap(), 3);
    let mut left = s3.keys().await;
    left.retain(|key| !["other/thing", "some/prefix/notes.txt"].contains(&key.as_str()));
    let expected: Vec<String> = kept.iter().map(|id| format!("some/prefix/{id}")).collect();
    assert_eq!(left, expected);
    assert_eq!(sweep::orphans(&objects, later, known).await, Ok(0));
}
