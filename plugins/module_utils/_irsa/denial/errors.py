# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Errors that the text itself explains: of tokens, providers, credentials, and of services other than IAM.

Each by the messages of STS, of the SDKs, and of the programs. See docs/facts/irsa.md#errors-before-the-trust-policy
and docs/facts/irsa.md#denials-that-are-not-of-iam.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Optional

from .model import IDENTITY, PERMISSION, TRUST, UNKNOWN, AccessDenial

# A cause outranks the summary around it: an error code without a message, a request that did not arrive, a chain of
# credential providers of which none had credentials.
CAUSE, CODE, BARE_CODE, CONNECTION, SETUP, SUMMARY, VAGUE = range(7)

ROLE_ARN_ANNOTATION = "eks.amazonaws.com/role-arn"
AUDIENCE_ANNOTATION = "eks.amazonaws.com/audience"


@dataclass(frozen=True)
class KnownError:
    kind: str
    pattern: str
    reason: str
    remediation: str
    side: str = IDENTITY
    rank: int = CAUSE
    action: Optional[str] = None


_RENEW = "Make the program renew its credentials: restart it, and use an SDK that renews credentials by itself."
_CLOCK = "Synchronize the clock of the host that signs the requests."
_FIND_CREDENTIALS = (
    f"Give the service account its role: by the annotation {ROLE_ARN_ANNOTATION} or by a Pod Identity association. "
    "Restart its pods. Check that the program's SDK is recent enough."
)
_SDK_CREDENTIALS = "The program's SDK cannot use the credentials of the service account."
_AGENT = "The Pod Identity agent gave the pod no credentials."
_IMDS = (
    "The SDK found no credentials of the service account. It then requested those of the node from the instance "
    "metadata service, which gave none."
)

KNOWN_ERRORS: tuple[KnownError, ...] = (
    # --- STS, before it evaluates the trust policy.
    KnownError(
        "no_provider",
        r"No OpenIDConnect provider found in your account(?: for (?P<issuer>https://[^\s\"'`,)]+))?|"
        r"OpenIDConnect provider .{0,120}?(?:does not exist|not found)",
        "STS finds no IAM OIDC provider for the token's issuer in the role's account. STS did not evaluate the trust "
        "policy.",
        "Create the cluster's IAM OIDC provider in the role's account: iam_irsa_namespace creates it with "
        "create_provider.",
    ),
    KnownError(
        "audience",
        r"Incorrect token audience|token audience .{0,40}?(?:not|doesn't) match|aud(?:ience)? claim .{0,60}?(?:invalid|"
        r"not (?:allowed|match))",
        "The token's audience is not among the IAM OIDC provider's client ids. STS did not evaluate the trust policy.",
        "Add the token's audience to the client ids of the IAM OIDC provider, or let the token be issued for "
        f"sts.amazonaws.com (annotation {AUDIENCE_ANNOTATION} of the service account).",
    ),
    KnownError(
        "verification_key",
        r"Couldn'?t retrieve verification key from your identity provider|IDPCommunicationError|"
        r"HTTPS certificate doesn'?t match configured thumbprint|(?:invalid|incorrect) token signature|"
        r"token signature (?:is )?invalid|signature verification failed",
        "STS could not fetch the keys that the issuer publishes, or did not trust them. STS could not verify the "
        "token's signature.",
        "Make sure that the issuer's keys can be fetched from the internet, through its "
        "/.well-known/openid-configuration, and that the API server signs with these keys.",
    ),
    KnownError(
        "token_expired",
        r"Token expired: current date/time|(?:web identity )?token (?:that was passed|provided) is expired|"
        r"service account token (?:has|is) expired|\btoken is expired by\b",
        "The service account's token had expired when it was sent to STS.",
        "Make the program read its token file again before each use, as current SDKs do. Check that the clocks are "
        "right.",
    ),
    KnownError(
        "token_expired",
        r"\bExpiredTokenException\b(?!: The (?:security|provided) token)",
        "The service account's token had expired when it was sent to STS.",
        "Make the program read its token file again before each use, as current SDKs do. Check that the clocks are "
        "right.",
        rank=CODE,
    ),
    KnownError(
        "token_invalid",
        r"IDPRejectedClaim(?:Exception)?|InvalidIdentityToken(?:Exception)?|not a valid JWT|Missing a required claim|"
        r"Service account token cannot be parsed|InvalidTokenException.{0,80}?token",
        "STS rejects the token itself: its signature, its format or one of its claims.",
        "Make the program send the projected token of the service account unchanged.",
        rank=CODE,
    ),
    KnownError(
        "role_arn",
        r"Request ARN is invalid|at 'roleArn' failed to satisfy constraint|Invalid length for parameter RoleArn|"
        r"RoleArn .{0,60}? is not a valid|(?:value|parameter) (?:at 'roleArn'|RoleArn) .{0,60}?invalid",
        "The value that was sent as the role's ARN is not the ARN of a role. STS checked nothing else.",
        f"Set the service account's annotation {ROLE_ARN_ANNOTATION} to the ARN of the role "
        "(arn:PARTITION:iam::ACCOUNT:role/NAME), and restart its pods.",
    ),
    KnownError(
        "session_duration",
        r"DurationSeconds exceeds the (?:MaxSessionDuration|1 hour session limit)",
        "The program requested a session that is longer than the role, or role chaining, allows.",
        "Make the program request a shorter session, or raise the role's maximum session duration. A chained role "
        "has at most one hour.",
    ),
    KnownError(
        "region_disabled",
        r"RegionDisabledException|STS is not activated in this region",
        "STS is not activated in this region for the account. STS did not evaluate the trust policy.",
        "Activate STS for the region in the account settings of IAM, or let the program use another region.",
    ),
    KnownError(
        "token_file",
        r"(?:open|read|reading|file|No such file)\b.{0,120}?/(?:token|eks-pod-identity-token)\b.{0,60}?(?:no such file "
        r"or directory|permission denied|ENOENT|EACCES|does not exist)|(?:No such file or directory|Permission "
        r"denied|ENOENT|EACCES)\b.{0,80}?/(?:token|eks-pod-identity-token)\b",
        "The program could not read its token. Either the token was not mounted into the pod, or the program's user "
        "may not read it.",
        "Restart the pod, so that the webhook mounts the token. Where only the program's user may not read it, set "
        "fsGroup in the pod's security context.",
    ),
    # --- Credentials that AWS does not accept.
    KnownError(
        "credentials_expired",
        r"The security token included in the request is expired|The (?:provided|SSO) token (?:has|is) expired|"
        r"\bExpiredToken\b|RequestExpired|authorization token has expired|SSO session associated with this profile has "
        r"expired|Token has expired and refresh failed|Error (?:when retrieving|loading) (?:token from sso|SSO Token)|"
        r"Your session has expired|UnauthorizedSSOTokenError",
        "The credentials of the request had expired. They were valid once, and the program did not renew them.",
        _RENEW,
    ),
    KnownError(
        "clock_skew",
        r"Signature (?:expired|not yet current)|RequestTimeTooSkewed|RequestInTheFuture|"
        r"difference between the request time and the current time is too large",
        "The request's time differs too much from AWS's. AWS evaluated no policy for it.",
        _CLOCK,
    ),
    KnownError(
        "credentials_invalid",
        r"The security token included in the request is invalid|AWS was not able to validate the provided access "
        r"credentials|InvalidClientTokenId|UnrecognizedClientException|InvalidAccessKeyId|SignatureDoesNotMatch|"
        r"The request signature we calculated does not match|Access Key Id you provided does not exist|"
        r"IncompleteSignature(?:Exception)?|InvalidSignatureException(?!: Signature (?:expired|not yet))",
        "AWS does not know these credentials, or not in this partition or region. AWS evaluated no policy for them.",
        "Check which credentials the program found first: keys in its environment take precedence over its role. "
        "Check partition and region, too.",
    ),
    # --- EKS Pod Identity and other services that assume a role.
    KnownError(
        "pod_identity",
        r"EKS does not have permissions to assume the associated role",
        "EKS Pod Identity cannot assume the role of the association. The role's trust policy must allow "
        "pods.eks.amazonaws.com both sts:AssumeRole and sts:TagSession, for this cluster.",
        "Let the role's trust policy allow pods.eks.amazonaws.com both sts:AssumeRole and sts:TagSession.",
        side=TRUST,
    ),
    KnownError(
        "trust_policy",
        r"role (?:defined for the function )?cannot be assumed by [\w ]{2,30}",
        "The service reports that it cannot assume the role: its trust policy does not allow the service.",
        "Let the role's trust policy allow the service's principal.",
        side=TRUST,
    ),
    KnownError(
        "unstated",
        r"(?:was |is |were )?unable to assume (?:the )?(?:service[ -]linked )?role (?:'[^']+' )?that was provided",
        "A service could not assume the role. It does not state the side: the role's trust policy, or the permission "
        "of the caller to pass the role.",
        "Not known. Check that the role's trust policy allows the service's principal, and that the caller may pass "
        "the role (iam:PassRole).",
        side=UNKNOWN,
    ),
    KnownError(
        "unstated",
        r"ServiceLinkedRoleCreationNotPermitted|do(?:es)? not have permissions? to create (?:the|a) service[ -]linked "
        r"role",
        "A service-linked role does not exist in this account, and the caller may not create it.",
        "Create the service-linked role once for the account (aws iam create-service-linked-role), or let the caller "
        "create it (iam:CreateServiceLinkedRole).",
        side=PERMISSION,
        action="iam:CreateServiceLinkedRole",
    ),
    KnownError(
        "unstated",
        r"starport-layer-bucket.{0,300}?403|403.{0,120}?starport-layer-bucket",
        "ECR let the image pull begin, and S3 denied a layer. ECR signed the layer's URL, so the node role's policies "
        "do not decide.",
        "Not known for certain. Check the policy of the VPC's S3 endpoint first: it must allow s3:GetObject on ECR's "
        "bucket prod-REGION-starport-layer-bucket.",
        side=UNKNOWN,
    ),
    KnownError(
        "unstated",
        r"Not authorized for images?: ?\[?ami-",
        "The account may not use this AMI: it is private to another account, or its owner withdrew it.",
        "Not in a policy of the caller: let the AMI's owner share it with this account, or use another AMI.",
        side=UNKNOWN,
    ),
    KnownError(
        "unstated",
        r"Cross-account pass role is not allowed",
        "The request names a role of another account. AWS services take only roles of the caller's account.",
        "Name a role of the account that makes the request.",
        side=UNKNOWN,
    ),
    # --- Services and programs with an access control of their own.
    KnownError(
        "kubernetes_rbac",
        r"is forbidden: User \"?[^\"]*?\"? cannot|forbidden: User .{1,200}? cannot (?:get|list|watch|create|update|"
        r"patch|delete)",
        "Kubernetes denied this request by its own roles (RBAC). AWS is not involved.",
        "Not in IAM: bind the user to a Kubernetes role that allows the request.",
        side=UNKNOWN,
    ),
    KnownError(
        "kubernetes_authentication",
        r"You must be logged in to the server|the server has \w+ for the client to provide credentials",
        "Kubernetes does not accept this identity (401). For an IAM principal, the cluster has no access entry or "
        "mapping, or the token is of another cluster.",
        "Not in a policy: create an EKS access entry for the IAM principal, and check cluster and credentials of the "
        "kubeconfig.",
        side=UNKNOWN,
    ),
    KnownError(
        "opensearch_access_control",
        r"no permissions for \[[^\]]*\] (?:and|associated with) (?:User|roles)|security_exception.{0,200}?no "
        r"permissions for|no permissions for \[(?:indices|cluster):",
        "OpenSearch denied this by its own fine-grained access control. IAM did not deny the request: OpenSearch "
        "names the IAM role as its user.",
        "Not in IAM: map the role, as a backend role, to an OpenSearch role with these permissions (Security, Role "
        "mappings).",
        side=UNKNOWN,
    ),
    KnownError(
        "lake_formation",
        r"(?:Insufficient|Required) Lake Formation permission",
        "Lake Formation denied this by its own permissions on databases and tables.",
        "Not in IAM: grant the principal the permission in Lake Formation.",
        side=UNKNOWN,
    ),
    # --- Credentials that are not there.
    KnownError(
        "no_credentials",
        r"'?sts'? service module must be on the class ?path|STS module .{0,40}class ?path",
        f"{_SDK_CREDENTIALS} It lacks the module for STS.",
        "Add the SDK's module sts (software.amazon.awssdk:sts) to the program.",
        rank=SETUP,
    ),
    KnownError(
        "no_credentials",
        r"Multiple HTTP implementations were found on the classpath",
        f"{_SDK_CREDENTIALS} It found several HTTP clients and chose none.",
        "Leave one HTTP client on the program's class path, or configure which one the SDK uses.",
        rank=SETUP,
    ),
    KnownError(
        "no_credentials",
        r"is not a valid container metadata service hostname|Unsupported host .{0,40}169\.254\.170\.23|"
        r"only loopback hosts are allowed|Host should resolve to a loopback address",
        f"{_SDK_CREDENTIALS} It is too old for EKS Pod Identity.",
        "Update the program's SDK to a version that supports EKS Pod Identity.",
        rank=SETUP,
    ),
    KnownError(
        "no_credentials",
        r"AssumeRoleForPodIdentity.{0,200}?ResourceNotFoundException|no pod identity association",
        f"{_AGENT} EKS has no association for the service account.",
        "Create the Pod Identity association for the service account, and restart its pods.",
        rank=SETUP,
    ),
    KnownError(
        "no_credentials",
        r"(?:169\.254\.170\.23|\[?fd00:ec2::23\]?).{0,200}?(?:time[d ]?-?out|refused|unreachable|no route|"
        r"deadline|reset)|(?:time[d ]?-?out|refused|unreachable|deadline).{0,100}?(?:169\.254\.170\.23|"
        r"\[?fd00:ec2::23\]?)",
        f"{_AGENT} It did not answer on its link-local address.",
        "Check that the add-on eks-pod-identity-agent runs on the pod's node, and that no rule of the node or proxy "
        "setting (NO_PROXY) catches 169.254.170.23.",
        rank=SETUP,
    ),
    KnownError(
        "instance_metadata",
        r"GetInstanceIdentityDocument|Unable to load region from any of the providers|ec2imds: GetRegion|"
        r"failed to (?:introspect|get|fetch|retrieve) (?:the )?(?:region|vpc ?id|availability zone)[^.]{0,80}?"
        r"(?:EC2 ?Metadata|IMDS)|(?:unable|failed) to (?:get|initialize|retrieve) (?:EC2 )?(?:instance )?metadata",
        "The program could not read the region or the identity of the node from the instance metadata service. No "
        "policy is involved.",
        "Not in IAM: give the program its region (and VPC id) as options, or run it where it reaches the instance "
        "metadata service.",
        side=UNKNOWN,
        rank=SETUP,
    ),
    KnownError(
        "no_credentials",
        r"no EC2 IMDS role found|no EC2 instance role found|ec2imds: GetMetadata|EC2MetadataError|load credentials "
        r"from IMDS|communicate with IMDS|ImdsCommunicationError|"
        r"169\.254\.169\.254.{0,200}?(?:time[d ]?-?out|refused|unreach|no route|deadline|40[134]|50\d|failed|"
        r"error)|"
        r"(?:time[d ]?-?out|refused|unreach\w*|deadline|failed).{0,100}?169\.254\.169\.254|IMDS(?:v2)? token|"
        r"from (?:the )?(?:EC2 )?instance (?:profile )?metadata service|EC2 Instance Metadata Service",
        _IMDS,
        f"{_FIND_CREDENTIALS} A higher hop limit of the instance metadata service would only give pods the node role.",
        rank=SETUP,
    ),
    KnownError(
        "no_credentials",
        r"NoCredentialProviders|NoCredentialsError|MissingCredentials|CredentialsNotLoaded|CredentialRetrievalError|"
        r"CredentialsProviderError|Unable to locate credentials|Could not load credentials from any providers?|"
        r"Unable to load (?:AWS )?credentials from any (?:of the )?providers?|no providers? in (?:the )?chain provided "
        r"credentials|credentials? provider was not enabled|unable to sign request without credentials|No valid "
        r"credential sources|Missing ?Authentication ?Token|Partial credentials found|"
        r"could not find (?:any )?(?:AWS )?credentials|"
        r"Failed to resolve AWS credentials|The credentials provider was empty",
        "The program found no credentials at all: neither a role of its service account nor the node role.",
        _FIND_CREDENTIALS,
        rank=SUMMARY,
    ),
    KnownError(
        "no_credentials",
        r"WebIdentityErr|failed to (?:retrieve|refresh cached) credentials|STS assume role request failed",
        "The SDK could not get credentials, and the text does not state why.",
        "Not known. Give the whole message: the cause follows this summary.",
        rank=VAGUE,
    ),
    KnownError(
        "no_credentials",
        r"dkr[.-]ecr[.-].{0,400}?(?:no basic auth credentials|401 Unauthorized|unauthorized: authentication required)",
        "The container runtime sent ECR no credentials. The kubelet gets them from the node role, unless the pod has "
        "imagePullSecrets.",
        "Let the node role get them: attach AWS's policy AmazonEC2ContainerRegistryPullOnly to it. Check that the "
        "image's name has the registry's account, region and partition.",
        rank=SETUP,
    ),
)
_COMPILED = tuple((error, re.compile(error.pattern, re.IGNORECASE)) for error in KNOWN_ERRORS)


def find_known_errors(text: str) -> Iterator[tuple[int, int, AccessDenial]]:
    """Find the known errors of a text: position, rank, denial."""
    for error, pattern in _COMPILED:
        for match in pattern.finditer(text):
            issuer = match.groupdict().get("issuer")
            denial = AccessDenial(
                error.side,
                error.kind,
                error.reason,
                match[0][:400],
                action=error.action,
                issuer=issuer.rstrip(".;") if issuer else None,
                remediation=error.remediation,
            )
            yield match.start(), error.rank, denial


_UNREACHED = re.compile(
    r"RequestError: send request failed|request send failed|Client\.Timeout exceeded|dial tcp|"
    r"Could not connect to the endpoint URL|Connect timeout on endpoint|EndpointConnectionError|ConnectTimeoutError|"
    r"no such host|i/o timeout|Unable to execute HTTP request|UnknownHostException|Name or service not known|"
    r"getaddrinfo (?:ENOTFOUND|EAI_AGAIN)|connect E(?:TIMEDOUT|CONNREFUSED)|error trying to connect|dispatch failure|"
    r"Seahorse::Client::NetworkingError|No such host is known|x509: certificate signed by unknown authority|"
    r"Temporary failure in name resolution|connection refused",
    re.IGNORECASE,
)
_METADATA_HOST = re.compile(r"169\.254\.|fd00:ec2|imds|EC2Metadata|instance metadata", re.IGNORECASE)


def find_connection_errors(text: str) -> Iterator[tuple[int, int, AccessDenial]]:
    """Find requests that did not reach AWS. The link-local services of the node are not meant: see above."""
    for match in _UNREACHED.finditer(text):
        if _METADATA_HOST.search(text, max(0, match.start() - 160), match.end() + 160):
            continue
        denial = AccessDenial(
            UNKNOWN,
            "connection_error",
            "The request did not reach the service, so neither side evaluated it.",
            match[0],
            remediation="Not in IAM: check DNS, routes, endpoints, proxies and certificates on the way to the service.",
        )
        yield match.start(), CONNECTION, denial
