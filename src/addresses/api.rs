//! The app's operations on addresses.

use poem_openapi::param::Path;
use poem_openapi::payload::Json;
use poem_openapi::types::Example;
use poem_openapi::{Object, OpenApi};

use super::{Draft, Entry};
use crate::identity::{Phone, UserAuth};
use crate::kernel::{AddressId, Failure, Result};
use crate::platform::ctx::Ctx;
use crate::platform::web::{Body, Created, List, NoContent, Reply, Tag};

pub struct AddressesApi {
    pub ctx: Ctx,
}

/// An address as the person writes it.
#[derive(Object)]
#[oai(example)]
pub struct AddressInput {
    #[oai(validator(min_length = 1, max_length = 40))]
    recipient: String,
    /// A mainland mobile number of 11 digits, or `+` with country code and number. Required for a new address;
    /// when an address is changed, leaving it out keeps the number.
    #[oai(validator(min_length = 7, max_length = 24, pattern = r"^\+?[0-9 -]+$"))]
    phone: Option<String>,
    #[oai(validator(min_length = 1, max_length = 40))]
    province: String,
    #[oai(validator(min_length = 1, max_length = 40))]
    city: String,
    #[oai(validator(min_length = 1, max_length = 40))]
    district: String,
    /// Street, house, room.
    #[oai(validator(min_length = 1, max_length = 200))]
    detail: String,
    #[oai(validator(pattern = "^[0-9A-Za-z -]{3,12}$"))]
    postal_code: Option<String>,
    /// True makes it the default. False leaves the default where it is.
    #[oai(default)]
    is_default: bool,
}

impl Example for AddressInput {
    fn example() -> Self {
        Self {
            recipient: "林晓".to_owned(),
            phone: Some("13800138000".to_owned()),
            province: "浙江省".to_owned(),
            city: "杭州市".to_owned(),
            district: "西湖区".to_owned(),
            detail: "龙井路 1 号 2 幢 301 室".to_owned(),
            postal_code: Some("310013".to_owned()),
            is_default: true,
        }
    }
}

impl AddressInput {
    fn draft(self) -> Result<Draft> {
        let phone = match &self.phone {
            Some(text) => {
                Some(Phone::parse(text).map_err(|why| Failure::invalid("/phone", why.to_string()))?)
            }
            None => None,
        };
        Ok(Draft {
            recipient: written("/recipient", &self.recipient)?,
            phone,
            province: written("/province", &self.province)?,
            city: written("/city", &self.city)?,
            district: written("/district", &self.district)?,
            detail: written("/detail", &self.detail)?,
            postal_code: self.postal_code,
            is_default: self.is_default,
        })
    }
}

/// One line that is more than white space: it goes onto a parcel's label.
fn written(field: &str, text: &str) -> Result<String> {
    let text = text.trim();
    if text.is_empty() {
        return Err(Failure::invalid(field, "must not be empty"));
    }
    if text.chars().any(char::is_control) {
        return Err(Failure::invalid(field, "must not contain line breaks or control characters"));
    }
    Ok(text.to_owned())
}

/// An address in the person's book.
#[derive(Object)]
pub struct AddressView {
    id: AddressId,
    recipient: String,
    /// Masked: `138****8000`.
    phone: String,
    province: String,
    city: String,
    district: String,
    detail: String,
    #[oai(skip_serializing_if_is_none)]
    postal_code: Option<String>,
    is_default: bool,
}

impl From<Entry> for AddressView {
    fn from(Entry { id, address, is_default }: Entry) -> Self {
        Self {
            id,
            phone: address.phone.masked(),
            recipient: address.recipient,
            province: address.province,
            city: address.city,
            district: address.district,
            detail: address.detail,
            postal_code: address.postal_code,
            is_default,
        }
    }
}

#[OpenApi(prefix_path = "/api/v1", tag = "Tag::Addresses")]
impl AddressesApi {
    /// List my addresses
    ///
    /// The whole book, at most 50: the default first, then the newest. Changes nothing.
    ///
    /// Errors: `unauthenticated`.
    #[oai(path = "/addresses", method = "get", operation_id = "listAddresses")]
    async fn list(&self, auth: UserAuth) -> Reply<Json<List<AddressView>>> {
        let mut conn = self.ctx.db.reader().await?;
        let entries = super::list(&mut conn, &self.ctx, &auth.0.user_id).await?;
        Ok(List::whole(entries.into_iter().map(AddressView::from).collect()))
    }

    /// Add an address
    ///
    /// Writes an address into the person's book; the first one becomes the default. The phone number is stored
    /// encrypted and answered masked.
    ///
    /// Errors: `unauthenticated`, `invalid_request`, `address_limit`.
    #[oai(path = "/addresses", method = "post", operation_id = "createAddress")]
    async fn create(&self, auth: UserAuth, body: Body<AddressInput>) -> Reply<Created<AddressView>> {
        let draft = body.into_inner().draft()?;
        Ok(Created::new(super::add(&self.ctx, &auth.0.user_id, &draft).await?.into()))
    }

    /// Change an address
    ///
    /// Replaces the address; without `phone` the number stays. Orders that were placed keep what they had.
    ///
    /// Errors: `unauthenticated`, `invalid_request`, `address_not_found`.
    #[oai(path = "/addresses/:address_id", method = "put", operation_id = "updateAddress")]
    async fn update(
        &self,
        auth: UserAuth,
        address_id: Path<AddressId>,
        body: Body<AddressInput>,
    ) -> Reply<Json<AddressView>> {
        let draft = body.into_inner().draft()?;
        Ok(Json(super::change(&self.ctx, &auth.0.user_id, &address_id, &draft).await?.into()))
    }

    /// Delete an address
    ///
    /// Takes the address out of the book. When it was the default, the newest of the others becomes it.
    ///
    /// Errors: `unauthenticated`, `address_not_found`.
    #[oai(path = "/addresses/:address_id", method = "delete", operation_id = "deleteAddress")]
    async fn delete(&self, auth: UserAuth, address_id: Path<AddressId>) -> Reply<NoContent> {
        super::remove(&self.ctx, &auth.0.user_id, &address_id).await?;
        Ok(NoContent::Done)
    }
}
