//! Members of staff, as many as a test needs: written straight into the database, since a password hash costs
//! more than most tests.

use std::sync::atomic::{AtomicU64, Ordering};

use minimall::kernel::{StaffId, StaffSessionId, minute_ms};
use minimall::platform::secrets::new_token;
use minimall::staff::Role;

use super::{Client, TestApp};

impl TestApp {
    /// A fresh member who is signed in, with this role, for these stores only, or, without any, for all of them.
    pub async fn member(&self, role: Role, stores: &[&str]) -> Client {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let user_name = format!("{}-{number}", role.as_str().to_lowercase());
        let (id, session): (StaffId, StaffSessionId) = (self.ctx.new_id(), self.ctx.new_id());
        let (token, token_hash) = new_token();
        let now_ms = self.ctx.clock.now_ms();
        let (id, session, user_name, token_hash) = (&id, &session, &user_name, &token_hash);
        let written = self.ctx.db.write(|tx| {
            Box::pin(async move {
                sqlx::query(
                    "INSERT INTO staff (id, user_name, name, password_hash, role, created_ms) \
                     VALUES (?, ?, ?, 'none', ?, ?)",
                )
                .bind(id)
                .bind(user_name)
                .bind(user_name)
                .bind(role)
                .bind(now_ms)
                .execute(&mut **tx)
                .await?;
                for store in stores {
                    sqlx::query("INSERT INTO staff_stores (staff_id, store_id) VALUES (?, ?)")
                        .bind(id)
                        .bind(*store)
                        .execute(&mut **tx)
                        .await?;
                }
                sqlx::query(
                    "INSERT INTO staff_sessions (id, staff_id, token_hash, created_ms, expires_ms) \
                     VALUES (?, ?, ?, ?, ?)",
                )
                .bind(session)
                .bind(id)
                .bind(token_hash)
                .bind(now_ms)
                .bind(now_ms + minute_ms(480))
                .execute(&mut **tx)
                .await?;
                Ok(())
            })
        });
        written.await.expect("a member");
        self.client().with_token(&token)
    }
}
