//! S3 that fails in the middle: what can be repeated is, and of the rest nothing is left.

use std::time::Duration;

use http::Method;
use longrun::objects::ObjectError;

use crate::double::{Fault, S3, is_missing};
use crate::uploads::{SIZE, all, contents, upload};

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_for_a_moment_is_repeated() {
    if is_missing() {
        return;
    }
    let (s3, contents) = (S3::start().await, contents(SIZE));
    let objects = s3.objects();
    let has =
        |text: &'static str| move |_: &Method, uri: &http::Uri| uri.to_string().contains(text);
    s3.breaks(2, Fault::Status(503), has("partNumber=2"));
    s3.breaks(1, Fault::Cut, has("partNumber=3"));
    s3.breaks(1, Fault::Status(500), |method, uri| {
        method == Method::POST && uri.query().is_some_and(|it| it.starts_with("uploadId="))
    });
    let stored = upload(&objects, &contents).await.unwrap();
    assert_eq!(s3.unbroken(), 0);
    let size = contents.len() as u64;
    // A read that is cut off goes on behind what has come.
    s3.breaks(1, Fault::Status(500), |method, _| method == Method::GET);
    s3.breaks(2, Fault::Cut, |method, _| method == Method::GET);
    let read = all(objects.read_whole(stored, size).await.unwrap()).await.unwrap();
    assert!(read == contents);
    assert_eq!(s3.unbroken(), 0);
    s3.breaks(1, Fault::Status(503), |method, _| method == Method::DELETE);
    objects.delete(stored.id).await.unwrap();
    assert_eq!(s3.keys().await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_an_upload_that_fails_nothing_is_left() {
    if is_missing() {
        return;
    }
    let (s3, contents) = (S3::start().await, contents(SIZE));
    let objects = s3.objects();
    // Refused for good: this is not repeated.
    for target in ["partNumber=2", "uploads"] {
        s3.breaks(1, Fault::Status(403), move |_, uri| uri.to_string().contains(target));
        let error = upload(&objects, &contents).await.unwrap_err();
        assert!(matches!(error, ObjectError::Unavailable(_)), "{target}: {error}");
        assert_eq!((s3.unbroken(), s3.unfinished().await), (0, 0), "{target}");
        assert_eq!(s3.keys().await, [""; 0], "{target}");
    }
    // Given up by the one who uploads, in the middle.
    let mut given_up = objects.upload();
    for piece in contents.chunks(1 << 20).take(17) {
        given_up.write(piece.to_vec().into()).await.unwrap();
    }
    given_up.abort().await;
    assert_eq!((s3.unfinished().await, s3.keys().await.len()), (0, 0));
    assert!(upload(&objects, &contents).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_is_told_and_silence_keeps_nobody_else_waiting() {
    if is_missing() {
        return;
    }
    let s3 = S3::start().await;
    let objects = s3.objects();
    let stored = upload(&objects, &contents(1_000)).await.unwrap();
    s3.breaks(1, Fault::Status(403), |method, _| method == Method::GET);
    s3.breaks(1, Fault::Status(403), |method, _| method == Method::HEAD);
    let refused = objects.read_whole(stored, 1_000).await.err().expect("a refusal");
    assert!(matches!(refused, ObjectError::Unavailable(_)), "{refused}");
    s3.breaks(1, Fault::Silence, |method, _| method == Method::GET);
    let first = objects.read_whole(stored, 1_000);
    let waited = tokio::time::timeout(Duration::from_millis(500), first).await;
    assert!(waited.is_err(), "it answers");
    let second = all(objects.read_whole(stored, 1_000).await.unwrap()).await.unwrap();
    assert!(second == contents(1_000));
}
