"""Outputs by the rules of large marketplaces: the main picture of a product. Importing this loads no codec.

Rules change: each preset names the pages that state its rule and the day on which they were read. Where the own page of
a marketplace needs an account, or could not be read, the pages are guides that repeat it, and `is_own_page` is False.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from inference.compose.spec import OutputSpec
from inference.compose.values import Format

_CHECKED = "2026-11-28"


@dataclass(frozen=True)
class Preset:
    """An output by name, and the rule that it follows."""

    name: str
    spec: OutputSpec
    rule: str
    """What the marketplace asks for."""
    sources: tuple[str, ...]
    """The addresses of the pages that say so."""
    is_own_page: bool
    """Whether the first of them is the marketplace's own."""
    checked: str = _CHECKED
    """The day on which the pages were read, as YYYY-MM-DD."""


def _on_white(canvas: str, share: float, megabytes: int, max_side: int | None = None) -> OutputSpec:
    return OutputSpec(
        format=Format.JPEG,
        background="white",
        canvas=canvas,
        share=share,
        max_side=max_side,
        max_bytes=megabytes * 1_000_000,
    )


_ALL = (
    Preset(
        "amazon-main",
        _on_white("2000x2000", 0.88, 10),
        "JPEG preferred; longer side 1000 px for zoom, 1600 or more advised, 10,000 at most; pure white background "
        "(255,255,255); the product fills at least 85 % of the frame; sRGB; 10 MB",
        (
            "https://changethisfile.com/blog/convert-images-for-amazon-seller-central",
            "https://mercatuslab.com/blog/amazon-product-image-requirements",
        ),
        is_own_page=False,
    ),
    Preset(
        "shopify",
        _on_white("2048x2048", 0.85, 20),
        "JPEG, PNG or WebP; 2048 x 2048 px for square pictures, at most 4472 x 4472 px or 20 megapixels; 20 MB; "
        "any background, the same padding for all",
        (
            "https://shopify.dev/docs/apps/online-store/media/products",
            "https://sellshot.ai/en/blog/shopify-product-image-size-guide",
        ),
        is_own_page=True,
    ),
    Preset(
        "ebay",
        _on_white("1600x1600", 0.85, 12),
        "JPEG, PNG, WebP and others; longer side 500 px or more, stored at 1600 x 1600 px at most; no borders, no "
        "text; 12 MB",
        (
            "https://www.ebay.com/help/policies/listing-policies/picture-policy?id=4370",
            "https://entwickler.ebay.de/api-docs/user-guides/static/trading-user-guide/picture-hosting.html",
            "https://plomz.com/guide/ebay-image-requirements-for-sellers-2026",
        ),
        is_own_page=True,
    ),
    Preset(
        "etsy",
        _on_white("2000x2000", 0.8, 10),
        "JPEG, PNG or GIF; shorter side 2000 px; shown square in lists; 10 MB; any background",
        ("https://hauld.app/blog/etsy-listing-photo-checklist",),
        is_own_page=False,
    ),
    Preset(
        "walmart",
        _on_white("2200x2200", 0.85, 5),
        "JPEG, PNG or BMP; 2200 x 2200 px, square, zoom from 1500; seamless white background (255,255,255); RGB, "
        "8 bits; 5 MB",
        (
            "https://marketplacelearn.walmart.com/guides/Item%20setup/Item%20content,%20imagery,%20and%20media/"
            "Product-detail-page:-Image-guidelines-&-requirements",
        ),
        is_own_page=True,
    ),
    Preset(
        "google-merchant",
        _on_white("1:1", 0.82, 16, max_side=2000),
        "JPEG, WebP, PNG, GIF, BMP or TIFF; 1500 x 1500 px advised, 500 the least from 31 January 2027, at most 64 "
        "megapixels; not scaled up; 16 MB; white or transparent background; the product takes 75 to 90 % of the frame",
        (
            "https://support.google.com/merchants/answer/6324350",
            "https://sharpfeed.io/docs/fields/image-link",
            "https://emberfeed.com/specs/google-merchant-image-requirements-2026",
        ),
        is_own_page=True,
    ),
    Preset(
        "temu",
        _on_white("1350x1800", 0.8, 2),
        "JPEG or PNG; 3:4, 1340 x 1785 px; plain background, white advised; the product takes more than 60 % of the "
        "frame; 2 MB",
        ("https://www.chwang.com/article/182326793106", "https://caishen.com/baike/5457.html"),
        is_own_page=False,
    ),
    Preset(
        "zalando",
        _on_white("1801x2600", 0.85, 20),
        "JPEG; upright, 1:1.44, 1801 x 2600 px advised, 762 x 1100 the least; white background for packshots; 20 MB",
        ("https://partner.zalando.com/university/article/accessories-image-guide",),
        is_own_page=True,
    ),
    Preset(
        "otto",
        _on_white("2000x2000", 0.92, 10),
        "JPEG or PNG; 500 x 1000 px or more, longest side 4500; RGB; bright neutral background; the product takes 85 % "
        "of the picture's area",
        (
            "https://help.lengow.com/hc/en-us/articles/15513887073948--OTTO-Error-HAUPTBILDER-NICHT-VORHANDEN-main-"
            "images-not-available",
            "https://portal.marcos-software.de/support/solutions/articles/26000044569-angebots-bilder-auf-otto-market-"
            "nicht-sichtbar",
        ),
        is_own_page=False,
    ),
)

PRESETS: Mapping[str, Preset] = MappingProxyType({preset.name: preset for preset in _ALL})
"""By name."""
