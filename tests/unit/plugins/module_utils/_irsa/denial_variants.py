# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Variants of denials as programs log them: quoting, chains, clauses at every place, sessions of nodes, other programs.

Their shapes are those of public bug reports and guides. Names, accounts and ids are examples.
"""

from __future__ import annotations

import json

from ansible_collections.daytwo.aws.plugins.module_utils._irsa.denied import IDENTITY, PERMISSION, TRUST, UNKNOWN
from ansible_collections.daytwo.aws.tests.unit.plugins.module_utils._irsa.denial_corpus import (
    WEB_IDENTITY,
    Case,
    case,
    event,
)

SESSION = "arn:aws:sts::123456789012:assumed-role/ctl/1700000000000000001"
USER = f"User: {SESSION} is not authorized to perform:"
NODE = "arn:aws:sts::123456789012:assumed-role/pool-a-node/i-0f00ba47deadbeef1"
NODE_USER = f"User: {NODE} is not authorized to perform:"
BUCKET = "arn:aws:s3:::shop-data/orders/2026.csv"
SENTENCE = f"{USER} s3:GetObject on resource: {BUCKET} because no identity-based policy allows the s3:GetObject action"
SCP_ARN = "arn:aws:organizations::210987654321:policy/o-a1b2c3d4e5/service_control_policy/p-0abcd123"
ENCODED = "abCD_12-" * 30
JAVA_CHAIN = (
    "software.amazon.awssdk.core.exception.SdkClientException: Unable to load credentials from any of the providers in "
    "the chain AwsCredentialsProviderChain(credentialsProviders=[SystemPropertyCredentialsProvider(), "
    "EnvironmentVariableCredentialsProvider(), WebIdentityTokenCredentialsProvider(), ProfileCredentialsProvider()]) : "
    "[SystemPropertyCredentialsProvider(): Unable to load credentials from system settings. Access key must be "
    "specified either via environment variable (AWS_ACCESS_KEY_ID) or system property (aws.accessKeyId)., "
    "EnvironmentVariableCredentialsProvider(): Unable to load credentials from system settings., "
    "WebIdentityTokenCredentialsProvider(): {}, ProfileCredentialsProvider(profileName=default, "
    "profileFile=ProfileFile(sections=[])): Profile file contained no credentials for profile 'default', "
    "ContainerCredentialsProvider(): Cannot fetch credentials from container - neither "
    "AWS_CONTAINER_CREDENTIALS_FULL_URI or AWS_CONTAINER_CREDENTIALS_RELATIVE_URI environment variables are set., "
    "InstanceProfileCredentialsProvider(): Failed to load credentials from IMDS.]"
)
GO2 = "operation error {}: {}, https response error StatusCode: {}, RequestID: 6d1f, "


def allowed_by_none(policy_type: str, action: str = "s3:GetObject") -> str:
    return f"because no {policy_type} allows the {action} action"


# The clause, at every place that services write it.
CLAUSES = [
    case(
        "clause, after a role's name",
        f"{USER} iam:PassRole on resource: role nodes {allowed_by_none('identity-based policy', 'iam:PassRole')}",
        PERMISSION,
        "identity_policy",
        explicit_deny=False,
        resource="role nodes",
    ),
    case(
        "clause, after a policy's name",
        f"{USER} iam:CreatePolicy on resource: policy team-shop because no permissions boundary allows the "
        "iam:CreatePolicy action",
        PERMISSION,
        "permissions_boundary",
        resource="policy team-shop",
    ),
    case(
        "clause, after a user's name",
        f"{USER} iam:CreateAccessKey on resource: user ann with an explicit deny in a service control policy",
        PERMISSION,
        "service_control_policy",
        explicit_deny=True,
        resource="user ann",
    ),
    case(
        "clause, after a secret's name",
        f"{USER} secretsmanager:GetSecretValue on resource: team/orders/db with an explicit deny in a resource-based "
        "policy",
        PERMISSION,
        "resource_policy",
        explicit_deny=True,
        resource="team/orders/db",
    ),
    case(
        "clause, after the word secret and a name",
        f"{USER} secretsmanager:GetSecretValue on resource: secret orders because no identity-based policy allows the "
        "secretsmanager:GetSecretValue action",
        PERMISSION,
        "identity_policy",
        resource="secret orders",
    ),
    case(
        "clause, after a ciphertext",
        f"{USER} kms:Decrypt on the resource associated with this ciphertext because no identity-based policy allows "
        "the kms:Decrypt action",
        PERMISSION,
        "identity_policy",
        resource=None,
    ),
    case(
        "clause, after a ciphertext, explicit",
        f"{USER} kms:Decrypt on the resource associated with this ciphertext with an explicit deny in a resource "
        "control policy",
        PERMISSION,
        "resource_control_policy",
        explicit_deny=True,
    ),
    case(
        "clause, after a ciphertext, three reasons",
        f"{USER} kms:Decrypt on the resource associated with this ciphertext because the resource does not exist in "
        "this Region, no resource-based policies allow access, or a resource-based policy explicitly denies access",
        PERMISSION,
        "resource_policy",
        explicit_deny=False,
    ),
    case(
        "clause, after this resource",
        f"{USER} kms:GenerateDataKey on this resource with an explicit deny in a service control policy",
        PERMISSION,
        "service_control_policy",
        explicit_deny=True,
    ),
    case(
        "clause, after nothing",
        f"{USER} s3:ListAllMyBuckets with an explicit deny in a session policy",
        PERMISSION,
        "session_policy",
        explicit_deny=True,
    ),
    case(
        "clause, after an object's key with blanks",
        f'{USER} s3:GetObject on resource: "arn:aws:s3:::shop-data/my file (1).txt" because no resource-based policy '
        "allows the s3:GetObject action",
        PERMISSION,
        "resource_policy",
        resource="arn:aws:s3:::shop-data/my file (1).txt",
    ),
    case(
        "clause, after an object's key with blanks and no quotes",
        f"{USER} s3:PutObject on resource: arn:aws:s3:::shop-data/my file.txt with an explicit deny in a VPC endpoint "
        "policy",
        PERMISSION,
        "vpc_endpoint_policy",
        explicit_deny=True,
        resource="arn:aws:s3:::shop-data/my file.txt",
    ),
    case(
        "clause, after a log group's ARN, which ends with a colon",
        f"{USER} logs:DescribeLogGroups on resource: arn:aws:logs:eu-west-1:123456789012:log-group::log-stream: "
        f"{allowed_by_none('identity-based policy', 'logs:DescribeLogGroups')}",
        PERMISSION,
        "identity_policy",
        resource="arn:aws:logs:eu-west-1:123456789012:log-group::log-stream:",
    ),
    case(
        "clause, after an account's wildcard",
        f"{USER} ecr:GetAuthorizationToken on resource: * because no VPC endpoint policy allows the "
        "ecr:GetAuthorizationToken action",
        PERMISSION,
        "vpc_endpoint_policy",
        resource="*",
    ),
    case(
        "clause, without the action",
        f"{USER} dynamodb:ListTables because no permissions boundary allows the action",
        PERMISSION,
        "permissions_boundary",
    ),
    case(
        "clause, with the SDK's own words before it",
        f"{USER} sqs:SendMessage on resource: arn:aws:sqs:eu-west-1:123456789012:orders (queue orders) with an "
        "explicit deny in a resource-based policy (Service: Sqs, Status Code: 403, Request ID: 1)",
        PERMISSION,
        "resource_policy",
        explicit_deny=True,
        resource="arn:aws:sqs:eu-west-1:123456789012:orders",
    ),
    case(
        "clause, with a policy's id and a full stop",
        f"{USER} ec2:RunInstances on resource: arn:aws:ec2:eu-west-1:123456789012:instance/* with an explicit deny "
        f"in a "
        f"service control policy: {SCP_ARN}. Encoded authorization failure message: {ENCODED}",
        PERMISSION,
        "service_control_policy",
        explicit_deny=True,
        policy=SCP_ARN,
        encoded_message=ENCODED,
        other_denials=0,
    ),
    case(
        "clause, with a policy's short id",
        f"{USER} ec2:RunInstances with an explicit deny in a service control policy: p-0abcd123",
        PERMISSION,
        "service_control_policy",
        policy="p-0abcd123",
    ),
    case(
        "clause, with a boundary's ARN, implicit",
        f"{USER} s3:GetObject on resource: {BUCKET} because no permissions boundary allows the s3:GetObject action: "
        "arn:aws:iam::123456789012:policy/edge",
        PERMISSION,
        "permissions_boundary",
        policy="arn:aws:iam::123456789012:policy/edge",
    ),
    case(
        "clause, with a link and an authorization id, implicit",
        f"{USER} iam:CreateInstanceProfile on resource: arn:aws:iam::123456789012:instance-profile/p because no "
        "identity-based policy allows the iam:CreateInstanceProfile action. Go to "
        "https://us-east-1.console.aws.amazon.com/iam/home?region=us-east-1#/authorization-details/abc1a2b3 for "
        "complete details, or call the GetRequestAuthorizationDetails API with the following authorization id: "
        "abc1a2b3",
        PERMISSION,
        "identity_policy",
        authorization_id="abc1a2b3",
        resource="arn:aws:iam::123456789012:instance-profile/p",
    ),
    case(
        "clause, with due to",
        "User is not authorized to perform cloudtrail:DeleteTrail due to an explicit deny in a Service Control Policy",
        PERMISSION,
        "service_control_policy",
        explicit_deny=True,
        action="cloudtrail:DeleteTrail",
    ),
    case(
        "clause, cut off behind explicit deny",
        f"{USER} s3:DeleteObject on resource: {BUCKET} with an explicit deny in",
        PERMISSION,
        "unstated",
        explicit_deny=True,
        resource=BUCKET,
    ),
    case(
        "clause, cut off within the policy type",
        f"{USER} s3:DeleteObject on resource: {BUCKET} with an explicit deny in a service contr",
        PERMISSION,
        "unstated",
        explicit_deny=True,
    ),
    case(
        "clause, cut off behind the policy type",
        f"{USER} s3:DeleteObject on resource: {BUCKET} because no service control policy",
        PERMISSION,
        "service_control_policy",
        explicit_deny=False,
    ),
    case(
        "clause, and nothing before it",
        "...ocessing batch 17 with an explicit deny in a permissions boundary",
        PERMISSION,
        "permissions_boundary",
        explicit_deny=True,
        caller=None,
    ),
    case(
        "clause, implicit, and nothing before it",
        "AccessDenied ... because no permissions boundary allows the s3:ListAllMyBuckets action",
        PERMISSION,
        "permissions_boundary",
        action="s3:ListAllMyBuckets",
    ),
    case(
        "clause of the Block Public Access setting",
        f'{USER} s3:PutBucketPolicy on resource: "arn:aws:s3:::shop-data" because public policies are prevented by the '
        "BlockPublicPolicy setting in S3 Block Public Access.",
        PERMISSION,
        "other_policy",
        explicit_deny=False,
    ),
    case(
        "clause, in capitals, with a hyphen missing",
        f"{USER} s3:GetObject on resource: {BUCKET} BECAUSE NO IDENTITY BASED POLICY ALLOWS THE s3:GetObject ACTION",
        PERMISSION,
        "identity_policy",
    ),
    case(
        "clause, short form SCP",
        f"{USER} ec2:CreateVpc on resource: arn:aws:ec2:eu-west-1:123456789012:vpc/* with an explicit deny in an SCP",
        PERMISSION,
        "service_control_policy",
        explicit_deny=True,
    ),
    case(
        "clause of an unknown type, explicit",
        f"{USER} s3:GetObject on resource: {BUCKET} with an explicit deny in a network perimeter policy",
        PERMISSION,
        "other_policy",
        explicit_deny=True,
    ),
    case(
        "clause in EC2's opening sentence",
        "UnauthorizedOperation: You are not authorized to perform this operation with an explicit deny in a service "
        f"control policy. Encoded authorization failure message: {ENCODED}",
        PERMISSION,
        "service_control_policy",
        explicit_deny=True,
        encoded_message=ENCODED,
    ),
    case(
        "clause of an endpoint through a resource control policy",
        f"{USER} SNS:Publish on resource: arn:aws:sns:us-east-1:123456789012:t with an explicit deny in a VPC endpoint "
        "policy transitively through a resource control policy",
        PERMISSION,
        "vpc_endpoint_policy",
        transitive_policy_type="resource_control_policy",
    ),
    case(
        "trust policy, with the role's ARN",
        f"{USER} sts:AssumeRole on resource: arn:aws:iam::210987654321:role/b with an explicit deny in the role trust "
        "policy",
        TRUST,
        "trust_policy",
        explicit_deny=True,
        role="arn:aws:iam::210987654321:role/b",
    ),
    case(
        "assume role, organization",
        f"{USER} sts:AssumeRole on resource: arn:aws:iam::210987654321:role/b with an explicit deny in a resource "
        "control policy",
        PERMISSION,
        "resource_control_policy",
        explicit_deny=True,
    ),
    case(
        "assume role, explicit, type not named",
        f"{USER} sts:AssumeRole on resource: arn:aws:iam::210987654321:role/b with an explicit deny",
        UNKNOWN,
        "unstated",
        explicit_deny=True,
    ),
]

# The clause before the sentence.
CLAUSES += [
    case(
        "clause, before the sentence",
        f"Blocked with an explicit deny in a service control policy: {USER} s3:GetObject on resource: {BUCKET}",
        PERMISSION,
        "service_control_policy",
        explicit_deny=True,
        resource=BUCKET,
    ),
    case(
        "clause of another denial before the sentence",
        f"{USER} s3:ListBucket with an explicit deny in a session policy\n{USER} s3:GetObject on resource: {BUCKET} "
        f"{allowed_by_none('identity-based policy')}",
        PERMISSION,
        "session_policy",
        action="s3:ListBucket",
        other_denials=1,
    ),
    case(
        "no explicit deny, in words",
        f"{USER} s3:GetObject on resource: {BUCKET} {allowed_by_none('identity-based policy')} (no explicit deny)",
        PERMISSION,
        "identity_policy",
        explicit_deny=False,
    ),
    case(
        "decoded, cut off",
        '{"DecodedMessage": "{\\"allowed\\":false,\\"explicitDeny\\":true,\\"matchedStatements\\":{\\"items\\":[]},'
        f'\\"context\\":{{\\"principal\\":{{\\"id\\":\\"A\\",\\"arn\\":\\"{SESSION}\\"}},'
        '\\"action\\":\\"ec2:RunInstances\\",\\"resource\\":\\"arn:aws:ec2:eu-west-1:123456789012:instance/*\\",\\"cond',
        PERMISSION,
        "unstated",
        explicit_deny=True,
        action="ec2:RunInstances",
        resource="arn:aws:ec2:eu-west-1:123456789012:instance/*",
    ),
    case(
        "decoded, cut off, implicit",
        '{"allowed":false,"explicitDeny":false,"matchedStatements":{"items":[]},"context":{"action":"ec2:CreateTags","re',
        PERMISSION,
        "unstated",
        explicit_deny=False,
        action="ec2:CreateTags",
    ),
    case(
        "web identity, the code alone",
        GO2.format("STS", "AssumeRoleWithWebIdentity", 403) + "api error AccessDenied: Access denied",
        TRUST,
        "web_identity",
    ),
    case(
        "instance metadata, Node, unreachable",
        "Error: connect EHOSTUNREACH 169.254.169.254:80 at TCPConnectWrap.afterConnect",
        IDENTITY,
        "no_credentials",
    ),
    case(
        "region, Java 2",
        "SdkClientException: Unable to load region from any of the providers in the "
        "chain DefaultAwsRegionProviderChain: [EnvironmentVariable: Unable to load region from system settings, "
        "InstanceProfileRegionProvider: Unable to contact EC2 metadata service.]",
        UNKNOWN,
        "instance_metadata",
    ),
    case(
        "ECR's layer in S3",
        "failed to copy: httpReadSeeker: failed open: unexpected status code "
        "https://prod-eu-west-1-starport-layer-bucket.s3.eu-west-1.amazonaws.com/a: 403 Forbidden",
        UNKNOWN,
        "unstated",
    ),
    case("a summary alone", "WebIdentityErr: failed to retrieve credentials", IDENTITY, "no_credentials"),
    case(
        "an AMI that is not shared",
        "AuthFailure: Not authorized for images: [ami-0123456789abcdef0]",
        UNKNOWN,
        "unstated",
    ),
    case(
        "node, role of a pod",
        f"{NODE_USER} sts:AssumeRole on resource: arn:aws:iam::123456789012:role/pod",
        UNKNOWN,
        "unstated",
        is_node_role=True,
    ),
    case(
        "node, network, in CloudTrail",
        event(
            "CreateNetworkInterface",
            "Client.UnauthorizedOperation",
            "You are not authorized to perform this operation.",
            "ec2",
            userIdentity={"type": "AssumedRole", "arn": NODE},
            userAgent="aws-sdk-go/1.33.14 (go1.13.15; linux; amd64) amazon-vpc-cni-k8s",
        ),
        PERMISSION,
        "unstated",
        node_program="cni",
        api_call="ec2:CreateNetworkInterface",
    ),
]

# Quoting and wrapping.
JSON_IN_JSON = json.dumps({"log": json.dumps({"level": "error", "error": SENTENCE}) + "\n", "stream": "stderr"})
FRAMED = "\n".join(
    f"│ {line}"
    for line in (
        "Error: reading S3 Object: operation error S3: GetObject, https response error",
        "StatusCode: 403, RequestID: 1, HostID: 2, api error AccessDenied: User:",
        f"{SESSION} is not authorized",
        "to perform: s3:GetObject on resource:",
        f'"{BUCKET}" because no identity-based',
        "policy allows the s3:GetObject action",
    )
)
WRAPPINGS = {
    "JSON in JSON": JSON_IN_JSON,
    "JSON in JSON in JSON": json.dumps({"message": JSON_IN_JSON}),
    "Terraform's frame": f"╷\n{FRAMED}\n│ \n│   with data.aws_s3_object.x,\n╵",
    "a terminal's colours": "\x1b[31m\x1b[1mError:\x1b[0m " + SENTENCE.replace(" is not", " \x1b[33mis not\x1b[0m"),
    "a terminal's colours, escaped": f"\\u001b[31mError:\\u001b[0m {SENTENCE}\\u001b[0m",
    "XML": f"<?xml version='1.0'?><Error><Code>AccessDenied</Code><Message>{SENTENCE}</Message><RequestId>1</RequestId>"
    "</Error>",
    "XML, cut off at the front": f"{SENTENCE}</Message><RequestId>1</RequestId></Error>",
    "XML with entities": f"&lt;Message&gt;{SENTENCE.replace(BUCKET, f'&quot;{BUCKET}&quot;')}&lt;/Message&gt;",
    "Python's dictionary": str({"Error": {"Code": "AccessDenied", "Message": SENTENCE}, "ResponseMetadata": {"n": 1}}),
    "a Python traceback": 'Traceback (most recent call last):\n  File "/app/x.py", line 3, in <module>\n    '
    f"s3.get_object(Bucket='b')\nbotocore.exceptions.ClientError: An error occurred (AccessDenied) when calling the "
    f"GetObject operation: {SENTENCE}",
    "Go's quoting": f'level=error error="AccessDenied: {SENTENCE}\\n\\tstatus code: 403, request id: 1"',
    "Go's %q within %q": json.dumps(json.dumps(f"AccessDenied: {SENTENCE}")),
    "SDK for Go 2": GO2.format("S3", "GetObject", 403) + f"HostID: 2, api error AccessDenied: {SENTENCE}",
    "SDK for Java 2": f"software.amazon.awssdk.services.s3.model.S3Exception: {SENTENCE} (Service: S3, Status Code: "
    "403, "
    "Request ID: 1, Extended Request ID: 2) (SDK Attempt Count: 1)\n\tat software.amazon.awssdk.core.X.y(X.java:1)",
    "SDK for Java 1": f"com.amazonaws.services.s3.model.AmazonS3Exception: {SENTENCE} (Service: Amazon S3; Status "
    "Code: "
    "403; Error Code: AccessDenied; Request ID: 1; S3 Extended Request ID: 2; Proxy: null)",
    "SDK for JavaScript": f"AccessDenied: {SENTENCE}\n    at de_AccessDeniedRes "
    "(/app/node_modules/@aws-sdk/x.js:1:2) {{\n  "
    "'$fault': 'client',\n  '$metadata': { httpStatusCode: 403 }\n}",
    "SDK for Rust": f'Error: service error: unhandled error (AccessDenied): Error {{ code: "AccessDenied", message: '
    f'"{SENTENCE}", request_id: "1" }}',
    "SDK for Ruby": f"/app/x.rb:1:in `get': {SENTENCE} (Aws::S3::Errors::AccessDenied)",
    "SDK for .NET": f"Unhandled exception. Amazon.S3.AmazonS3Exception: {SENTENCE}\n ---> Amazon.Runtime.Internal."
    "HttpErrorResponseException: Exception of type 'x' was thrown.",
    "SDK for PHP": f'Error executing "GetObject" on "https://b.s3.amazonaws.com/k"; AWS HTTP error: Client error: 403 '
    f'Forbidden response: AccessDenied (client): {SENTENCE} - <?xml version="1.0"?>',
    "AWS CLI 2": f"\naws: [ERROR]: An error occurred (AccessDenied) when calling the GetObject operation: {SENTENCE}\n",
    "a Kubernetes event": "LAST SEEN   TYPE      REASON   OBJECT    MESSAGE\n3s          Warning   Failed   "
    "pod/shop-1   "
    f"rpc error: code = Internal desc = {SENTENCE}",
    "Kubernetes' YAML": f"status:\n  conditions:\n  - message: >-\n      AccessDenied: {SENTENCE}\n    reason: Failed",
    "CloudFormation": f'Resource handler returned message: "{SENTENCE} (Service: S3, Status Code: 403, Request ID: 1)" '
    "(RequestToken: 1, HandlerErrorCode: AccessDenied)",
    "a mail's quote": f"> {SENTENCE[:90]}\n> {SENTENCE[90:]}".replace("\n> ", "\n> ", 1),
    "typographic quotes": f"\u201c{SENTENCE}\u201d",
    "no colon behind User": SENTENCE.replace("User: ", "User "),
    "LookupEvents": json.dumps(
        {
            "Events": [
                {"EventName": "ListBuckets", "CloudTrailEvent": json.dumps({"eventName": "ListBuckets"})},
                {"CloudTrailEvent": event("GetObject", "AccessDenied", SENTENCE, "s3", userIdentity={"arn": SESSION})},
            ]
        }
    ),
    "CloudTrail in a log event": json.dumps(
        {"@message": event("GetObject", "AccessDenied", SENTENCE, "s3", userIdentity={"arn": SESSION})}
    ),
    "CloudTrail as Python's dictionary": str(json.loads(event("GetObject", "AccessDenied", SENTENCE, "s3"))),
    "CloudTrail in a table, lower case": json.dumps(
        {"eventname": "GetObject", "errorcode": "AccessDenied", "errormessage": SENTENCE, "eventsource": "s3"}
    ),
    "JSON lines": json.dumps({"msg": "start"}) + "\n" + json.dumps({"msg": "failed", "error": SENTENCE}),
}
WRAPPED = [
    case(
        f"wrapped by {name}",
        text,
        PERMISSION,
        "identity_policy",
        action="s3:GetObject",
        resource=BUCKET,
        other_denials=0,
        explicit_deny=False,
    )
    for name, text in WRAPPINGS.items()
]

DECODED = {
    "allowed": False,
    "explicitDeny": True,
    "matchedStatements": {"items": [{"statementId": "OnlyTagged", "effect": "DENY"}]},
    "failures": {"items": []},
    "context": {
        "principal": {"id": "AROAEXAMPLE:1", "arn": SESSION},
        "action": "ec2:RunInstances",
        "resource": "arn:aws:ec2:eu-west-1:123456789012:instance/*",
        "conditions": {"items": [{"key": "aws:RequestTag/team", "values": {"items": [{"value": "shop"}]}}]},
    },
}
DECODINGS = {
    "bare": json.dumps(DECODED),
    "as STS returns it": json.dumps({"DecodedMessage": json.dumps(DECODED)}, indent=4),
    "as Python prints it": str({"DecodedMessage": json.dumps(DECODED)}),
    "as text of the AWS CLI": json.dumps(json.dumps(DECODED)),
    "as Python's dictionary": str(DECODED),
    "behind a prompt": f"$ aws sts decode-authorization-message --encoded-message x\n{json.dumps(DECODED, indent=2)}",
}
DECODED_CASES = [
    case(
        f"decoded, {name}",
        text,
        PERMISSION,
        "unstated",
        explicit_deny=True,
        action="ec2:RunInstances",
        resource="arn:aws:ec2:eu-west-1:123456789012:instance/*",
        context={"aws:RequestTag/team": ("shop",)},
        deny_statements=("OnlyTagged",),
    )
    for name, text in DECODINGS.items()
]

# Causes within summaries.
CHAINS = [
    case(
        "Java's chain, trust",
        JAVA_CHAIN.format(f"{WEB_IDENTITY} (Service: Sts, Status Code: 403)"),
        TRUST,
        "web_identity",
    ),
    case(
        "Java's chain, audience",
        JAVA_CHAIN.format("Incorrect token audience (Service: Sts, Status Code: 400, Request ID: 1)"),
        IDENTITY,
        "audience",
    ),
    case(
        "Java's chain, provider",
        JAVA_CHAIN.format(
            "No OpenIDConnect provider found in your account for https://oidc.eks.eu-west-1.amazonaws.com/id/AB "
            "(Service: "
            "Sts, Status Code: 400)"
        ),
        IDENTITY,
        "no_provider",
        issuer="https://oidc.eks.eu-west-1.amazonaws.com/id/AB",
    ),
    case(
        "Java's chain, STS not reached",
        JAVA_CHAIN.format("Unable to execute HTTP request: sts.eu-west-1.amazonaws.com: Name or service not known"),
        UNKNOWN,
        "connection_error",
    ),
    case(
        "Java's chain, nothing configured",
        JAVA_CHAIN.format(
            "Either the environment variable AWS_WEB_IDENTITY_TOKEN_FILE or the javaproperty must be set."
        ),
        IDENTITY,
        "no_credentials",
    ),
    case(
        "Java's chain, the module sts is missing",
        JAVA_CHAIN.format("To use web identity tokens, the 'sts' service module must be on the class path."),
        IDENTITY,
        "no_credentials",
    ),
    case(
        "Go 2's chain, trust, behind the operation that needed credentials",
        "operation error EC2: DescribeInstances, get identity: get credentials: failed to refresh cached credentials, "
        "failed to retrieve credentials, " + GO2.format("STS", "AssumeRoleWithWebIdentity", 403) + "api error "
        f"AccessDenied: {WEB_IDENTITY}",
        TRUST,
        "web_identity",
        operation="AssumeRoleWithWebIdentity",
    ),
    case(
        "Go 1's chain, verbose",
        "NoCredentialProviders: no valid providers in chain\ncaused by: EnvAccessKeyNotFound: failed to find "
        "credentials "
        "in the environment.\nSharedCredsLoad: failed to load profile, .\nEC2RoleRequestError: no EC2 instance role "
        "found\ncaused by: RequestError: send request failed\ncaused by: Get "
        '"http://169.254.169.254/latest/meta-data/iam/'
        'security-credentials/": dial tcp 169.254.169.254:80: i/o timeout',
        IDENTITY,
        "no_credentials",
    ),
    case(
        "Go 2, instance metadata, timeout",
        "operation error Elastic Load Balancing v2: DescribeLoadBalancers, get identity: get credentials: failed to "
        "refresh cached credentials, no EC2 IMDS role found, operation error ec2imds: GetMetadata, canceled, context "
        "deadline exceeded",
        IDENTITY,
        "no_credentials",
    ),
    case(
        "Rust, instance metadata",
        "provider in chain did not provide credentials provider=Ec2InstanceMetadata context=the credential provider "
        "was "
        "not enabled: could not communicate with IMDS: dispatch failure: timeout: HTTP read timeout occurred after 1s",
        IDENTITY,
        "no_credentials",
    ),
    case(
        "Rust, no provider in the chain",
        "DispatchFailure(DispatchFailure { source: ConnectorError { kind: Other(None), source: CredentialsNotLoaded("
        'CredentialsNotLoaded { source: Some("no providers in chain provided credentials") }) } })',
        IDENTITY,
        "no_credentials",
    ),
    case(
        "JavaScript, no provider",
        "CredentialsProviderError: Could not load credentials from any providers\n    at "
        "/app/node_modules/@smithy/x.js:1",
        IDENTITY,
        "no_credentials",
    ),
    case(
        "JavaScript, trust within an aggregate",
        "CredentialsProviderError: Could not load credentials from any providers\n"
        f"  [cause]: AccessDenied: {WEB_IDENTITY}\n"
        "    at throwDefaultError (/app/node_modules/@smithy/smithy-client/dist-cjs/index.js:1)",
        TRUST,
        "web_identity",
    ),
    case(
        "Ruby, no credentials",
        "unable to sign request without credentials set (Aws::Errors::MissingCredentialsError)",
        IDENTITY,
        "no_credentials",
    ),
    case(
        "boto3, Pod Identity agent not reached",
        "botocore.exceptions.CredentialRetrievalError: Error when retrieving credentials from container-role: Error "
        "retrieving metadata: Received error when attempting to retrieve container metadata: Connect timeout on "
        "endpoint "
        'URL: "http://169.254.170.23/v1/credentials"',
        IDENTITY,
        "no_credentials",
    ),
    case(
        "JavaScript, too old for Pod Identity",
        "CredentialsProviderError: 169.254.170.23 is not a valid container metadata service hostname",
        IDENTITY,
        "no_credentials",
    ),
    case(
        "Pod Identity without an association",
        "Error fetching credentials: error getting credentials to cache: unable to fetch credentials from EKS Auth: "
        "operation error EKS Auth: AssumeRoleForPodIdentity, https response error StatusCode: 404, RequestID: 1, "
        "ResourceNotFoundException: no association",
        IDENTITY,
        "no_credentials",
    ),
    case(
        "Pod Identity, trust policy, in the agent's log",
        '{"client-addr":"10.0.0.1:1","cluster-name":"blue","level":"error","msg":"Error fetching credentials: error '
        "getting "
        "credentials to cache: unable to fetch credentials from EKS Auth: operation error EKS Auth: "
        "AssumeRoleForPodIdentity, https response error StatusCode: 400, RequestID: 1, AccessDeniedException: "
        "Unauthorized "
        'Exception! EKS does not have permissions to assume the associated role."}',
        TRUST,
        "pod_identity",
        other_denials=0,
    ),
    case(
        "Pod Identity, token with a prefix",
        "Error fetching credentials: Service account token cannot be parsed: token is malformed: could not base64 "
        "decode "
        "header: illegal base64 data at input byte 6",
        IDENTITY,
        "token_invalid",
    ),
    case(
        ".NET, the role within the summary",
        "Amazon.Runtime.AmazonClientException: Error calling AssumeRole for role "
        "arn:aws-cn:iam::123456789012:role/x\n ---> "
        f"Amazon.SecurityToken.AmazonSecurityTokenServiceException: {WEB_IDENTITY}",
        TRUST,
        "web_identity",
        role="arn:aws-cn:iam::123456789012:role/x",
        operation="AssumeRole",
    ),
    case(
        "a summary that repeats a denial without its clause",
        f"failed: User: {SESSION} is not authorized to perform: s3:GetObject ... cause: {SENTENCE}",
        PERMISSION,
        "identity_policy",
        resource=BUCKET,
        other_denials=0,
    ),
    case(
        "two denials of different actions",
        f"{SENTENCE}\n{USER} s3:ListBucket with an explicit deny in a service control policy",
        PERMISSION,
        "identity_policy",
        action="s3:GetObject",
        other_denials=1,
    ),
    case(
        "an error code, then the message of another error far behind",
        "InvalidIdentityToken: The token is odd. " + "x " * 300 + SENTENCE,
        IDENTITY,
        "token_invalid",
        other_denials=1,
    ),
]

# STS, before the trust policy, and credentials.
IDENTITIES = [
    case(
        "audience, China, in a log",
        'level=error msg="InvalidIdentityToken: Incorrect token audience\\n\\tstatus code: 400, request id: x" '
        'endpoint="sts.cn-north-1.amazonaws.com.cn"',
        IDENTITY,
        "audience",
    ),
    case(
        "provider, dual-stack issuer",
        "InvalidIdentityToken: No OpenIDConnect provider found in your account for "
        "https://oidc-eks.eu-west-1.api.aws/id/0123456789ABCDEF0123456789ABCDEF, request id: 1",
        IDENTITY,
        "no_provider",
        issuer="https://oidc-eks.eu-west-1.api.aws/id/0123456789ABCDEF0123456789ABCDEF",
    ),
    case(
        "provider, China, in XML",
        "<Error><Type>Sender</Type><Code>InvalidIdentityToken</Code><Message>No OpenIDConnect provider found in your "
        "account for https://oidc.eks.cn-north-1.amazonaws.com.cn/id/AB</Message></Error>",
        IDENTITY,
        "no_provider",
        issuer="https://oidc.eks.cn-north-1.amazonaws.com.cn/id/AB",
    ),
    case(
        "thumbprint",
        "InvalidIdentityToken: OpenIDConnect provider's HTTPS certificate doesn't match configured thumbprint",
        IDENTITY,
        "verification_key",
    ),
    case(
        "keys, in JSON with an escaped apostrophe",
        '{"err":"InvalidIdentityToken: Couldn\\u0027t retrieve verification '
        'key from your identity provider, please reference AssumeRoleWithWebIdentity documentation"}',
        IDENTITY,
        "verification_key",
    ),
    case(
        "expired, Rust",
        "ServiceError(ServiceError { source: ExpiredTokenException(ExpiredTokenException { message: "
        'Some("Token expired: current date/time 1 must be before the expiration date/time 0") }) })',
        IDENTITY,
        "token_expired",
    ),
    case("expired, code alone", "ExpiredTokenException", IDENTITY, "token_expired"),
    case(
        "expired SSO",
        "The SSO session associated with this profile has expired or is otherwise invalid. To refresh run "
        "aws sso login",
        IDENTITY,
        "credentials_expired",
    ),
    case(
        "expired ECR login",
        "denied: Your authorization token has expired. Reauthenticate and try again.",
        IDENTITY,
        "credentials_expired",
    ),
    case(
        "clock",
        "SignatureDoesNotMatch: Signature expired: 20261130T100000Z is now earlier than 20261130T101000Z "
        "(20261130T102500Z - 15 min.)",
        IDENTITY,
        "credentials_invalid",
    ),
    case(
        "clock, another service",
        "InvalidSignatureException: Signature not yet current: 20261130T100000Z is still later than 20261130T095000Z",
        IDENTITY,
        "clock_skew",
    ),
    case(
        "clock, S3",
        "RequestTimeTooSkewed: The difference between the request time and the current time is too large.",
        IDENTITY,
        "clock_skew",
    ),
    case(
        "credentials of another partition",
        "An error occurred (InvalidClientTokenId) when calling the GetCallerIdentity "
        "operation: The security token included in the request is invalid.",
        IDENTITY,
        "credentials_invalid",
    ),
    case(
        "EC2's AuthFailure",
        "AuthFailure: AWS was not able to validate the provided access credentials",
        IDENTITY,
        "credentials_invalid",
    ),
    case(
        "role's ARN, validation",
        "1 validation error detected: Value 'lbc' at 'roleArn' failed to satisfy constraint: "
        "Member must have length greater than or equal to 20",
        IDENTITY,
        "role_arn",
    ),
    case(
        "role's session too long",
        "ValidationError: The requested DurationSeconds exceeds the MaxSessionDuration set for this role.",
        IDENTITY,
        "session_duration",
    ),
    case(
        "STS region off",
        "RegionDisabledException: STS is not activated in this region for account:123456789012. Your "
        "account administrator can activate STS in this region using the IAM Console.",
        IDENTITY,
        "region_disabled",
    ),
    case(
        "token file, Python",
        "FileNotFoundError: [Errno 2] No such file or directory: "
        "'/var/run/secrets/eks.amazonaws.com/serviceaccount/token'",
        IDENTITY,
        "token_file",
    ),
    case(
        "token file, Node",
        "Error: EACCES: permission denied, open '/var/run/secrets/eks.amazonaws.com/serviceaccount/token'",
        IDENTITY,
        "token_file",
    ),
    case(
        "token file, Pod Identity",
        "failed to read authorization token: open /var/run/secrets/pods.eks.amazonaws.com/"
        "serviceaccount/eks-pod-identity-token: no such file or directory",
        IDENTITY,
        "token_file",
    ),
    case("unsigned", "MissingAuthenticationTokenException: Missing Authentication Token", IDENTITY, "no_credentials"),
    case(
        "ECR, no credentials",
        'Failed to pull image "123456789012.dkr.ecr.eu-west-1.amazonaws.com/shop:1": rpc error: '
        "code = Unknown desc = Error response from daemon: Get "
        "https://123456789012.dkr.ecr.eu-west-1.amazonaws.com/v2/shop/manifests/1: no basic auth credentials",
        IDENTITY,
        "no_credentials",
    ),
]

# Who may assume a role.
ASSUMING = [
    case(
        "a user, no reason",
        "User: arn:aws:iam::123456789012:user/ann is not authorized to perform: sts:AssumeRole on "
        "resource: arn:aws:iam::210987654321:role/b",
        UNKNOWN,
        "unstated",
        role="arn:aws:iam::210987654321:role/b",
    ),
    case(
        "itself, escaped",
        "AccessDenied: User: arn:aws:sts::123456789012:assumed-role/dns01/1 is not authorized to "
        "perform: sts:AssumeRole on resource: arn:aws:iam::123456789012:role/team/dns01\\n\\tstatus code: 403",
        UNKNOWN,
        "unstated",
        role="arn:aws:iam::123456789012:role/team/dns01",
    ),
    case(
        "tags of a session, explicit",
        f"{USER} sts:TagSession on resource: arn:aws:iam::210987654321:role/b with an "
        "explicit deny in an identity-based policy",
        PERMISSION,
        "identity_policy",
        explicit_deny=True,
    ),
    case(
        "tags of a session, trust",
        f"{USER} sts:TagSession on resource: arn:aws:iam::210987654321:role/b because no "
        "resource-based policy allows the sts:TagSession action",
        TRUST,
        "trust_policy",
    ),
    case(
        "SAML",
        "Not authorized to perform sts:AssumeRoleWithSAML (Service: AWSSecurityTokenService; Status Code: 403; "
        "Error Code: AccessDenied; Request ID: 1)",
        TRUST,
        "web_identity",
        action="sts:AssumeRoleWithSAML",
    ),
    case(
        "Lambda's role",
        "InvalidParameterValueException: The role defined for the function cannot be assumed by Lambda.",
        TRUST,
        "trust_policy",
    ),
    case(
        "ECS's role",
        "ECS was unable to assume the role 'arn:aws:iam::123456789012:role/t' that was provided for this "
        "task. Please verify that the role being passed has the proper trust relationship and permissions",
        UNKNOWN,
        "unstated",
    ),
    case(
        "a role that is created by AWS",
        "AuthFailure.ServiceLinkedRoleCreationNotPermitted: The provided credentials do "
        "not have permission to create the service-linked role for EC2 Spot Instances.",
        PERMISSION,
        "unstated",
        action="iam:CreateServiceLinkedRole",
    ),
    case(
        "GovCloud",
        "User: arn:aws-us-gov:sts::123456789012:assumed-role/a/s is not authorized to perform: sts:AssumeRole "
        "on resource: arn:aws-us-gov:iam::123456789012:role/b",
        UNKNOWN,
        "unstated",
        role="arn:aws-us-gov:iam::123456789012:role/b",
    ),
    case(
        "ISO",
        "User: arn:aws-iso-b:sts::123456789012:assumed-role/a/s is not authorized to perform: s3:GetObject on "
        "resource: arn:aws-iso-b:s3:::x/y because no identity-based policy allows the s3:GetObject action",
        PERMISSION,
        "identity_policy",
        resource="arn:aws-iso-b:s3:::x/y",
    ),
    case(
        "the European sovereign partition",
        "User: arn:aws-eusc:sts::123456789012:assumed-role/a/s is not authorized to "
        "perform: s3:GetObject with an explicit deny in a service control policy",
        PERMISSION,
        "service_control_policy",
    ),
    case(
        "accounts masked by a poster",
        "User: arn:aws:sts::<ACCOUNT_ID>:assumed-role/ctl/s is not authorized to perform: "
        "kms:Decrypt on resource: arn:aws:kms:<REGION>:<ACCOUNT_ID>:key/<KEY_ID> because no resource-based policy "
        "allows "
        "the kms:Decrypt action",
        PERMISSION,
        "resource_policy",
        resource="arn:aws:kms:<REGION>:<ACCOUNT_ID>:key/<KEY_ID>",
    ),
    case(
        "a caller masked by a pipeline",
        "User: *** is not authorized to perform: kms:Decrypt on the resource associated "
        "with this ciphertext because no identity-based policy allows the kms:Decrypt action",
        PERMISSION,
        "identity_policy",
        caller=None,
    ),
    case(
        "anonymous, OpenSearch",
        '{"Message":"User: anonymous is not authorized to perform: es:ESHttpPost because no '
        'resource-based policy allows the es:ESHttpPost action"}',
        PERMISSION,
        "resource_policy",
        is_anonymous=True,
    ),
    case(
        "anonymous, without a reason",
        "User: anonymous is not authorized to perform: es:ESHttpGet",
        UNKNOWN,
        "unstated",
        is_anonymous=True,
    ),
    case(
        "no action",
        f'{{"Message":"User: {SESSION} is not authorized to access this resource with an explicit deny in a '
        'resource-based policy"}',
        PERMISSION,
        "resource_policy",
        explicit_deny=True,
        action=None,
    ),
]

# Sessions of nodes.
NODES = [
    case(
        "node, ECR token",
        f"{NODE_USER} ecr:GetAuthorizationToken on resource: * because no identity-based policy allows "
        "the ecr:GetAuthorizationToken action",
        PERMISSION,
        "identity_policy",
        is_node_role=True,
        node_program=None,
    ),
    case(
        "node, image pull",
        "Warning Failed 3s (x4 over 90s) kubelet Failed to pull image "
        f'"123456789012.dkr.ecr.eu-west-1.amazonaws.com/shop:1": 403 Forbidden: denied: {NODE_USER} '
        "ecr:GetDownloadUrlForLayer on resource: arn:aws:ecr:eu-west-1:123456789012:repository/shop because no "
        "resource-based policy allows the ecr:GetDownloadUrlForLayer action",
        PERMISSION,
        "resource_policy",
        is_node_role=True,
        node_program="image_pull",
    ),
    case(
        "node, Pod Identity agent",
        GO2.format("EKS Auth", "AssumeRoleForPodIdentity", 403)
        + f"AccessDeniedException: {NODE_USER} eks-auth:AssumeRoleForPodIdentity on resource: "
        "arn:aws:eks:eu-west-1:123456789012:cluster/blue because no identity-based policy allows the "
        "eks-auth:AssumeRoleForPodIdentity action",
        PERMISSION,
        "identity_policy",
        is_node_role=True,
    ),
    case(
        "node, cluster",
        f"{NODE_USER} eks:DescribeCluster on resource: arn:aws:eks:eu-west-1:123456789012:cluster/blue",
        PERMISSION,
        "unstated",
        is_node_role=True,
    ),
    case(
        "node, network",
        '{"level":"error","caller":"ipamd/ipamd.go:444","msg":"Failed to call '
        f"ec2:DescribeNetworkInterfaces: UnauthorizedOperation: You are not authorized to perform this operation. "
        f"{NODE_USER} ec2:DescribeNetworkInterfaces because no identity-based policy allows the "
        'ec2:DescribeNetworkInterfaces action"}',
        PERMISSION,
        "identity_policy",
        is_node_role=True,
        node_program="cni",
    ),
    case(
        "hybrid node",
        "User: arn:aws:sts::123456789012:assumed-role/hybrid/mi-0123456789abcdef0 is not authorized to "
        "perform: eks:DescribeCluster because no identity-based policy allows the eks:DescribeCluster action",
        PERMISSION,
        "identity_policy",
        is_node_role=True,
    ),
]

# CloudTrail.
EVENTS = [
    case(
        "endpoint policy, in CloudTrail",
        event(
            "ListKeys",
            "VpceAccessDenied",
            "The request was denied due to a VPC endpoint policy",
            "kms",
            userIdentity={"type": "AssumedRole", "arn": SESSION},
        ),
        PERMISSION,
        "vpc_endpoint_policy",
    ),
    case(
        "the first failed event of several",
        json.dumps(
            {
                "Records": [
                    {"eventName": "ListBuckets", "eventSource": "s3.amazonaws.com"},
                    json.loads(
                        event(
                            "RunInstances",
                            "Client.UnauthorizedOperation",
                            f"You are not authorized to perform this "
                            f"operation. {USER} ec2:RunInstances on resource: "
                            f"arn:aws:ec2:eu-west-1:123456789012:instance/* "
                            "with an explicit deny in a service control policy.",
                            "ec2",
                            userIdentity={"type": "AssumedRole", "arn": SESSION},
                        )
                    ),
                ]
            }
        ),
        PERMISSION,
        "service_control_policy",
        explicit_deny=True,
        operation="RunInstances",
    ),
    case(
        "EC2's code alone, in CloudTrail",
        event(
            "CreateFleet",
            "Client.UnauthorizedOperation",
            f"You are not authorized to perform this operation. Encoded authorization failure message: {ENCODED}",
            "ec2",
            userIdentity={"type": "AssumedRole", "arn": SESSION},
        ),
        PERMISSION,
        "unstated",
        encoded_message=ENCODED,
    ),
    case(
        "an event that was throttled",
        event(
            "DescribeInstances",
            "Client.RequestLimitExceeded",
            "Request limit exceeded.",
            "ec2",
            userIdentity={"type": "AssumedRole", "arn": SESSION},
        ),
        UNKNOWN,
        "no_denial",
    ),
]

# Other programs, and what only looks like AWS.
OTHERS = [
    case(
        "a proxy's 403",
        "<html><head><title>403 Forbidden</title></head><body><center><h1>403 Forbidden</h1></center>"
        "<hr><center>nginx/1.25.3</center></body></html>",
        UNKNOWN,
        "no_denial",
    ),
    case("curl's 403", "curl: (22) The requested URL returned error: 403", UNKNOWN, "no_denial"),
    case(
        "GitHub's 403",
        "HTTP 403: Resource not accessible by integration (https://api.github.com/repos/example/shop/pulls)",
        UNKNOWN,
        "no_denial",
    ),
    case(
        "a chart's registry",
        "Error: failed to authorize: failed to fetch anonymous token: unexpected status from GET "
        "request to https://ghcr.io/token: 403 Forbidden",
        UNKNOWN,
        "no_denial",
    ),
    case(
        "Docker Hub",
        "Error response from daemon: pull access denied for example/shop, repository does not exist or may "
        "require 'docker login': denied: requested access to the resource is denied",
        UNKNOWN,
        "no_denial",
    ),
    case(
        "MySQL",
        "ERROR 1045 (28000): Access denied for user 'shop'@'10.0.0.1' (using password: YES)",
        UNKNOWN,
        "no_denial",
    ),
    case("ssh", "git@example.org: Permission denied (publickey).", UNKNOWN, "no_denial"),
    case(
        "another cloud",
        "googleapi: Error 403: Permission 'storage.objects.get' denied on resource, forbidden",
        UNKNOWN,
        "no_denial",
    ),
    case(
        "a web program",
        '{"success": false, "message": "Role (user) is not authorized to access this resource"}',
        UNKNOWN,
        "no_denial",
    ),
    case(
        "S3's 403 of a HEAD",
        "An error occurred (403) when calling the HeadObject operation: Forbidden",
        UNKNOWN,
        "bare_error_code",
        operation="HeadObject",
    ),
    case(
        "ECR's 403",
        "unexpected status from HEAD request to "
        "https://123456789012.dkr.ecr.eu-west-1.amazonaws.com/v2/shop/manifests/1: 403 Forbidden",
        UNKNOWN,
        "bare_error_code",
    ),
    case(
        "S3's XML",
        "<Error><Code>AccessDenied</Code><Message>Access Denied</Message><RequestId>1</RequestId><HostId>2"
        "</HostId></Error>",
        UNKNOWN,
        "bare_error_code",
    ),
    case(
        "OpenSearch's own access control, bare",
        '{"error":{"root_cause":[{"type":"security_exception","reason":"no '
        'permissions for [indices:admin/create] and User [name=ann, backend_roles=[], requestedTenant=null]"}],"type":'
        '"security_exception"},"status":403}',
        UNKNOWN,
        "opensearch_access_control",
    ),
    case(
        "Lake Formation",
        "AccessDeniedException: Insufficient Lake Formation permission(s): Required Describe on shop",
        UNKNOWN,
        "lake_formation",
    ),
    case(
        "Kubernetes, not logged in",
        "error: You must be logged in to the server (Unauthorized)",
        UNKNOWN,
        "kubernetes_authentication",
    ),
    case(
        "Kubernetes, without quotes",
        "secrets is forbidden: User arn:aws:iam::123456789012:user/ann cannot list resource "
        "secrets in API group at the cluster scope",
        UNKNOWN,
        "kubernetes_rbac",
    ),
    case(
        "the region from the instance metadata",
        "failed to get region from EC2 metadata: operation error ec2imds: "
        "GetRegion, request canceled, context deadline exceeded",
        UNKNOWN,
        "instance_metadata",
    ),
    case("a role of another account", "AccessDenied: Cross-account pass role is not allowed.", UNKNOWN, "unstated"),
    case(
        "throttling that mentions a policy",
        "ThrottlingException: Rate exceeded for the identity-based policy store",
        UNKNOWN,
        "no_denial",
    ),
    case(
        "a text about a clause that does not deny",
        "There is no explicit deny in a service control policy for this role",
        UNKNOWN,
        "no_denial",
    ),
    case("nothing but braces", "{" * 400 + "[" * 400, UNKNOWN, "no_denial"),
]

VARIANTS: list[Case] = [
    *CLAUSES,
    *WRAPPED,
    *DECODED_CASES,
    *CHAINS,
    *IDENTITIES,
    *ASSUMING,
    *NODES,
    *EVENTS,
    *OTHERS,
]
