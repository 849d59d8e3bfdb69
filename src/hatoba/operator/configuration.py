"""Merge config.yaml: the user's keys, defaults below them, managed components above them.

Source: Quay operator 3.6.0 ("config bundle"): keys of managed components win over the user's;
whatever the operator does not know passes through untouched. Later versions give a registry with an
unmanaged `tls` the cluster's TLS profile, unless the user said anything of it. Pure.
"""

from hatoba.kernel.json import JsonObject
from hatoba.operator.components import COMPONENTS
from hatoba.operator.model import OperatorSettings, RegistryPlan
from hatoba.operator.tlsprofiles import PROFILE_KEYS, TlsProfile


def default_configuration(settings: OperatorSettings) -> JsonObject:
    """Return the keys of a bundle that nobody wrote; they are defaults under any other too."""
    if settings.red_hat_branding:
        title, logo = "Red Hat Quay", "/static/img/RH_Logo_Quay_Black_UX-horizontal.svg"
    else:
        title, logo = "Quay", "/static/img/quay-horizontal-color.svg"
    return {
        "SETUP_COMPLETE": True,
        "FEATURE_MAILING": False,
        "REGISTRY_TITLE": title,
        "REGISTRY_TITLE_SHORT": title,
        "AUTHENTICATION_TYPE": "Database",
        "ENTERPRISE_LOGO_URL": logo,
        "DEFAULT_TAG_EXPIRATION": "2w",
        "ALLOW_PULLS_WITHOUT_STRICT_LOGGING": False,
        "TAG_EXPIRATION_OPTIONS": ["2w"],
        "TEAM_RESYNC_STALE_TIME": "60m",
        "FEATURE_DIRECT_LOGIN": True,
        "FEATURE_BUILD_SUPPORT": False,
        "TESTING": False,
    }


def merged_configuration(plan: RegistryPlan) -> JsonObject:
    """Return the content of config.yaml as the pods read it."""
    config = default_configuration(plan.settings) | plan.config
    config["SECRET_KEY"] = plan.keys.secret_key
    config["DATABASE_SECRET_KEY"] = plan.keys.database_secret_key
    if plan.hostname:
        config["SERVER_HOSTNAME"] = plan.hostname
    if not plan.capabilities.routes and not plan.manages("route"):
        config.setdefault("PREFERRED_URL_SCHEME", plan.scheme)
    if (profile := followed_profile(plan)) is not None:
        config |= profile.configuration
    for component in COMPONENTS:
        if plan.manages(component.kind):
            config |= component.configuration(plan)
    return config


def followed_profile(plan: RegistryPlan) -> TlsProfile | None:
    """Return the cluster's TLS profile where it decides what the registry speaks."""
    if plan.manages("tls") or PROFILE_KEYS & plan.config.keys():
        return None
    return plan.capabilities.tls_profile
