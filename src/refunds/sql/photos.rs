//! SQL of photos.

use sqlx::FromRow;

use crate::kernel::{Millis, RefundId, RefundPhotoId, Result};
use crate::platform::db::{Conn, changed};

/// A photo, its bytes in base64.
#[derive(Debug, Clone, FromRow)]
pub struct Photo {
    pub id: RefundPhotoId,
    /// A customer or a staff member.
    pub owner_id: String,
    pub refund_id: Option<RefundId>,
    pub media_type: String,
    pub size_bytes: i64,
    pub created_ms: Millis,
    pub content: String,
}

pub async fn insert_photo(conn: &mut Conn, photo: &Photo) -> Result<()> {
    sqlx::query(
        "INSERT INTO refund_photos (id, owner_id, media_type, size_bytes, created_ms, content) \
         VALUES (?, ?, ?, ?, ?, ?)",
    )
    .bind(&photo.id)
    .bind(&photo.owner_id)
    .bind(&photo.media_type)
    .bind(photo.size_bytes)
    .bind(photo.created_ms)
    .bind(&photo.content)
    .execute(conn)
    .await?;
    Ok(())
}

/// How many photos somebody has uploaded and not used.
pub async fn count_unused(conn: &mut Conn, owner: &str) -> Result<i64> {
    let (count,): (i64,) =
        sqlx::query_as("SELECT COUNT(*) FROM refund_photos WHERE owner_id = ? AND refund_id IS NULL")
            .bind(owner)
            .fetch_one(conn)
            .await?;
    Ok(count)
}

/// The photo belongs to this refund from now on; false: it is not theirs, or is used.
pub async fn use_photo(conn: &mut Conn, id: &RefundPhotoId, owner: &str, refund: &RefundId) -> Result<bool> {
    changed(
        sqlx::query(
            "UPDATE refund_photos SET refund_id = ? WHERE id = ? AND owner_id = ? AND refund_id IS NULL",
        )
        .bind(refund)
        .bind(id)
        .bind(owner)
        .execute(conn)
        .await,
    )
}

pub async fn photo(conn: &mut Conn, id: &RefundPhotoId) -> Result<Option<Photo>> {
    Ok(sqlx::query_as(
        "SELECT id, owner_id, refund_id, media_type, size_bytes, created_ms, content FROM refund_photos \
         WHERE id = ?",
    )
    .bind(id)
    .fetch_optional(conn)
    .await?)
}

/// The refund that a photo belongs to.
///
/// # Errors
/// The database.
pub async fn refund_of_photo(conn: &mut Conn, id: &RefundPhotoId) -> Result<Option<RefundId>> {
    let row: Option<(Option<RefundId>,)> = sqlx::query_as("SELECT refund_id FROM refund_photos WHERE id = ?")
        .bind(id)
        .fetch_optional(conn)
        .await?;
    Ok(row.and_then(|(refund,)| refund))
}

/// Photos that nobody has used since `before_ms`.
pub async fn unused_photos(conn: &mut Conn, before_ms: Millis, limit: i64) -> Result<Vec<RefundPhotoId>> {
    let rows: Vec<(RefundPhotoId,)> = sqlx::query_as(
        "SELECT id FROM refund_photos WHERE refund_id IS NULL AND created_ms < ? ORDER BY created_ms LIMIT ?",
    )
    .bind(before_ms)
    .bind(limit)
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|(id,)| id).collect())
}

pub async fn delete_unused(conn: &mut Conn, id: &RefundPhotoId) -> Result<bool> {
    changed(
        sqlx::query("DELETE FROM refund_photos WHERE id = ? AND refund_id IS NULL")
            .bind(id)
            .execute(conn)
            .await,
    )
}
