//! Photos of what is wrong: uploaded first, then named in the request. Kept in the database, so that every
//! node has them; nothing but their owner and staff sees them.

use super::sql::{self, Photo};
use super::{PHOTO_NOT_FOUND, TOO_MANY_PHOTOS};
use crate::identity;
use crate::kernel::{Actor, Failure, Millis, RefundId, RefundPhotoId, Result, UserId, day_ms};
use crate::platform::crypto;
use crate::platform::ctx::Ctx;
use crate::platform::db::Tx;
use crate::platform::web::Picture;

/// Photos that somebody may have uploaded and not used.
const UNUSED_MAX: i64 = 30;
/// How long an uploaded photo waits to be used.
const UNUSED_FOR_MS: Millis = day_ms(1);
const SWEEP_BATCH: i64 = 200;

/// Keeps a photo until a request names it, a day at the longest.
///
/// # Errors
/// `too_many_photos`.
pub async fn upload(ctx: &Ctx, actor: &Actor, picture: &Picture) -> Result<RefundPhotoId> {
    let photo = Photo {
        id: ctx.new_id(),
        owner_id: actor.id().to_owned(),
        refund_id: None,
        media_type: picture.media_type.clone(),
        size_bytes: picture.bytes.len() as i64,
        created_ms: ctx.clock.now_ms(),
        content: crypto::base64(&picture.bytes),
    };
    let photo = &photo;
    ctx.db
        .write(|tx| {
            Box::pin(async move {
                if let Actor::User(user) = actor {
                    identity::hold(tx, user).await?;
                }
                if sql::count_unused(tx, &photo.owner_id).await? >= UNUSED_MAX {
                    return Err(Failure::new(&TOO_MANY_PHOTOS));
                }
                sql::insert_photo(tx, photo).await
            })
        })
        .await?;
    Ok(photo.id.clone())
}

/// The photos belong to the refund from now on: each is the actor's own and was not used before.
pub(super) async fn attach(
    tx: &mut Tx<'_>,
    actor: &Actor,
    refund: &RefundId,
    photos: &[RefundPhotoId],
) -> Result<()> {
    for (index, photo) in photos.iter().enumerate() {
        if !sql::use_photo(tx, photo, actor.id(), refund).await? {
            return Err(Failure::new(&PHOTO_NOT_FOUND).field(format!("/photos/{index}")));
        }
    }
    Ok(())
}

/// A customer's own photo.
///
/// # Errors
/// `photo_not_found`.
pub async fn photo_of(ctx: &Ctx, user: &UserId, id: &RefundPhotoId) -> Result<Picture> {
    read(ctx, id, |photo| photo.owner_id == user.as_str()).await
}

/// The photo of any refund, for staff, and what the member has uploaded.
///
/// # Errors
/// `photo_not_found`.
pub async fn photo_for_staff(ctx: &Ctx, member: &Actor, id: &RefundPhotoId) -> Result<Picture> {
    read(ctx, id, |photo| photo.refund_id.is_some() || photo.owner_id == member.id()).await
}

async fn read(ctx: &Ctx, id: &RefundPhotoId, may_see: impl Fn(&Photo) -> bool) -> Result<Picture> {
    let photo = sql::photo(&mut *ctx.db.reader().await?, id).await?;
    let photo = photo.filter(may_see).ok_or_else(|| Failure::new(&PHOTO_NOT_FOUND))?;
    Ok(Picture::kept_a_day(photo.media_type, crypto::from_base64(&photo.content)?))
}

/// Forgets photos that nobody used for a day, up to 200 at a time.
pub(super) async fn forget_unused(ctx: &Ctx) -> Result<usize> {
    let before_ms = ctx.clock.now_ms() - UNUSED_FOR_MS;
    let unused = sql::unused_photos(&mut *ctx.db.reader().await?, before_ms, SWEEP_BATCH).await?;
    if unused.is_empty() {
        return Ok(0);
    }
    let unused = &unused;
    ctx.db
        .write(|tx| {
            Box::pin(async move {
                let mut forgotten = 0;
                for photo in unused {
                    forgotten += usize::from(sql::delete_unused(tx, photo).await?);
                }
                Ok(forgotten)
            })
        })
        .await
}
