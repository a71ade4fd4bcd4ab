# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The corpus: denials as AWS documents them and as controllers log them, each with its expected side and kind.

Accounts, names and ids are examples. The wordings are those of IAM's and S3's guides on access denied messages, of STS,
of the SDKs for Go, Python, Java and JavaScript, and of CloudTrail.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from ansible_collections.daytwo.aws.plugins.module_utils._irsa.denied import IDENTITY, PERMISSION, TRUST, UNKNOWN

LBC = "arn:aws:sts::123456789012:assumed-role/lbc/1677819233544969902"
LOAD_BALANCER = "arn:aws:elasticloadbalancing:eu-central-1:123456789012:loadbalancer/net/shop/0123456789abcdef"
DELETE = "elasticloadbalancing:DeleteLoadBalancer"
CLASSIC = (
    f"User: {LBC} is not authorized to perform: {DELETE} on resource: {LOAD_BALANCER} because no identity-based policy "
    f"allows the {DELETE} action"
)
JOHN = "User: arn:aws:iam::123456789012:user/John is not authorized to perform:"
ISSUER = "https://oidc.eks.eu-central-1.amazonaws.com/id/0123456789ABCDEF0123456789ABCDEF"
WEB_IDENTITY = "Not authorized to perform sts:AssumeRoleWithWebIdentity"
CALLING = "when calling the AssumeRoleWithWebIdentity operation"
WRAPPED = "WebIdentityErr: failed to retrieve credentials\ncaused by: "
STATUS = "\n\tstatus code: {}, request id: 59c595b8-87d3-40a8-9797-a6e71836b439"
GO2 = (
    "failed to refresh cached credentials, failed to retrieve credentials, operation error STS: "
    "AssumeRoleWithWebIdentity, https response error StatusCode: {}, RequestID: cf9d8f2b-37f1-4ee1-b694-b2b22304a72b, "
)


@dataclass(frozen=True)
class Case:
    name: str
    message: str
    side: str
    kind: str
    expected: dict[str, Any]


def case(name: str, message: str, side: str, kind: str, **expected: Any) -> Case:
    return Case(name, message, side, kind, expected)


def event(name: str, code: str, message: str, service: str = "sts", **more: Any) -> str:
    fields = {"eventVersion": "1.08", "eventSource": f"{service}.amazonaws.com", "eventName": name, "errorCode": code}
    return json.dumps({**fields, "errorMessage": message, **more})


WEB_IDENTITY_USER = {
    "type": "WebIdentityUser",
    "userName": "system:serviceaccount:cloudon:aws-load-balancer-controller",
    "identityProvider": f"arn:aws:iam::123456789012:oidc-provider/{ISSUER[8:]}",
}
SESSION = {
    "type": "AssumedRole",
    "arn": LBC,
    "sessionContext": {"sessionIssuer": {"type": "Role", "arn": "arn:aws:iam::123456789012:role/lbc"}},
}

CORPUS = [
    # Permissions, by type of policy: implicit and explicit, with and without the policy's ARN.
    case(
        "identity, implicit",
        CLASSIC,
        PERMISSION,
        "identity_policy",
        action=DELETE,
        resource=LOAD_BALANCER,
        explicit_deny=False,
    ),
    case(
        "identity, no resource",
        "User: arn:aws:iam::123456789012:role/HR is not authorized to perform: codecommit:ListRepositories because no "
        "identity-based policy allows the codecommit:ListRepositories action",
        PERMISSION,
        "identity_policy",
        action="codecommit:ListRepositories",
        resource=None,
    ),
    case(
        "identity, explicit",
        f"{JOHN} codedeploy:ListDeployments on resource: arn:aws:codedeploy:us-east-1:123456789012:deploymentgroup:* "
        "with an explicit deny in an identity-based policy",
        PERMISSION,
        "identity_policy",
        explicit_deny=True,
        resource="arn:aws:codedeploy:us-east-1:123456789012:deploymentgroup:*",
        policy=None,
    ),
    case(
        "identity, explicit, with its ARN",
        f"{JOHN} iam:ListRoles on resource: arn:aws:iam::123456789012:role/* with an explicit deny in an "
        "identity-based "
        "policy: arn:aws:iam::123456789012:policy/HRPolicy",
        PERMISSION,
        "identity_policy",
        explicit_deny=True,
        policy="arn:aws:iam::123456789012:policy/HRPolicy",
    ),
    case(
        "resource, implicit",
        f"{JOHN} secretsmanager:GetSecretValue because no resource-based policy allows the "
        "secretsmanager:GetSecretValue action",
        PERMISSION,
        "resource_policy",
        explicit_deny=False,
    ),
    case(
        "resource, explicit",
        f"{JOHN} secretsmanager:GetSecretValue on resource: arn:aws:secretsmanager:us-east-1:123456789012:secret:* "
        "with an "
        "explicit deny in a resource-based policy",
        PERMISSION,
        "resource_policy",
        explicit_deny=True,
    ),
    case(
        "resource, one of three reasons",
        "An error occurred (AccessDeniedException) when calling the GenerateDataKey operation: User: "
        "arn:aws:sts::123456789012:assumed-role/app/s is not authorized to perform: kms:GenerateDataKey on this "
        "resource "
        "because the resource does not exist in this Region, no resource-based policies allow access, or a "
        "resource-based policy explicitly denies access",
        PERMISSION,
        "resource_policy",
        action="kms:GenerateDataKey",
        operation="GenerateDataKey",
        resource=None,
    ),
    case(
        "boundary, implicit",
        f"{JOHN} codedeploy:ListDeployments on resource: arn:aws:codedeploy:us-east-1:123456789012:deploymentgroup:* "
        "because no permissions boundary allows the codedeploy:ListDeployments action",
        PERMISSION,
        "permissions_boundary",
        explicit_deny=False,
    ),
    case(
        "boundary, explicit, with its ARN",
        f"{JOHN} sagemaker:ListModels with an explicit deny in a permissions boundary: "
        "arn:aws:iam::123456789012:policy/edge",
        PERMISSION,
        "permissions_boundary",
        explicit_deny=True,
        policy="arn:aws:iam::123456789012:policy/edge",
    ),
    case(
        "SCP, implicit",
        f"{JOHN} codecommit:ListRepositories because no service control policy allows the codecommit:ListRespositories "
        "action",
        PERMISSION,
        "service_control_policy",
        explicit_deny=False,
    ),
    case(
        "SCP, explicit, with its ARN",
        f"An error occurred (AccessDenied) when calling the ListRoles operation: {JOHN} iam:ListRoles on resource: "
        "arn:aws:iam::123456789012:role/* with an explicit deny in a service control policy: "
        "arn:aws:organizations::987654321098:policy/o-qv5af4abcd/service_control_policy/p-2kgnabcd",
        PERMISSION,
        "service_control_policy",
        explicit_deny=True,
        operation="ListRoles",
        policy="arn:aws:organizations::987654321098:policy/o-qv5af4abcd/service_control_policy/p-2kgnabcd",
    ),
    case(
        "RCP, explicit",
        "An error occurred (AccessDenied) when calling the PutObject operation:\nUser: "
        "arn:aws:sts::112233445566:assumed-role/AWSReservedSSO_PermSetName_0123456789abcdef/abcde\nis not authorized "
        "to "
        'perform: s3:PutObject\non resource: "arn:aws:s3:::test-kms-encryption-required/non-encrypted.txt"\nwith an '
        "explicit deny in a resource control policy",
        PERMISSION,
        "resource_control_policy",
        explicit_deny=True,
        resource="arn:aws:s3:::test-kms-encryption-required/non-encrypted.txt",
    ),
    case(
        "session policy, implicit",
        f"{JOHN} codecommit:ListRepositories because no session policy allows the codecommit:ListRepositories action",
        PERMISSION,
        "session_policy",
    ),
    case(
        "session policy, explicit, as the guide spells it",
        f"{JOHN} codedeploy:ListDeployments on resource: arn:aws:codedeploy:us-east-1:123456789012:deploymentgroup:* "
        "with an explicit deny in a sessions policy",
        PERMISSION,
        "session_policy",
        explicit_deny=True,
    ),
    case(
        "endpoint policy, implicit",
        "AccessDeniedException: User: arn:aws:sts::123456789012:assumed-role/app/botocore-session-1675698641 is not "
        "authorized to perform: dynamodb:Query on resource: arn:aws:dynamodb:us-west-1:123456789012:table/t because no "
        "VPC "
        "endpoint policy allows the dynamodb:Query action",
        PERMISSION,
        "vpc_endpoint_policy",
    ),
    case(
        "endpoint policy, explicit, through an SCP",
        "User: arn:aws:sts::111122223333:assumed-role/role-name/role-session-name is not authorized to perform: "
        "SNS:Publish on resource: arn:aws:sns:us-east-1:444455556666:role-name-2 with an explicit deny in a VPC "
        "endpoint "
        "policy transitively through a service control policy",
        PERMISSION,
        "vpc_endpoint_policy",
        explicit_deny=True,
        transitive_policy_type="service_control_policy",
    ),
    case(
        "a type of policy that AWS invents tomorrow",
        f"User: {LBC} is not authorized to perform: s3:GetObject because no network perimeter policy allows the "
        "s3:GetObject action",
        PERMISSION,
        "other_policy",
    ),
    case(
        "no type of policy, but a session",
        'API Error (403 {"Message":"User: arn:aws:sts::123456789012:assumed-role/alb/1684765 is not authorized to '
        'perform: ec2:GetSecurityGroupsForVpc"})',
        PERMISSION,
        "unstated",
        action="ec2:GetSecurityGroupsForVpc",
    ),
    case(
        "the caller is not named, the policy is",
        "Failed deploy model due to AccessDenied:  is not authorized to perform: elasticloadbalancing:AddTags on "
        "resource: "
        "arn:aws:elasticloadbalancing:us-east-1:123456789012:targetgroup/t/0123456789abcdef because no identity-based "
        "policy allows the elasticloadbalancing:AddTags action\n\tstatus code: 403, request id: cea0bfaf",
        PERMISSION,
        "identity_policy",
        caller=None,
    ),
    case(
        "the node's role",
        "AccessDenied: User: arn:aws:sts::123456789012:assumed-role/workers/i-015251056f40ce440 is not authorized to "
        "perform: elasticloadbalancing:DescribeLoadBalancers because no identity-based policy allows the "
        "elasticloadbalancing:DescribeLoadBalancers action\\n\\tstatus code: 403, request id: 89923814",
        PERMISSION,
        "identity_policy",
        is_node_role=True,
    ),
    case(
        "the caller's own policies, on the way to a role",
        "User: arn:aws:sts::123456789012:assumed-role/a/s is not authorized to perform: sts:AssumeRole on resource: "
        "arn:aws:iam::210987654321:role/b because no identity-based policy allows the sts:AssumeRole action",
        PERMISSION,
        "identity_policy",
        role="arn:aws:iam::210987654321:role/b",
    ),
    case(
        "a web identity that an RCP denies",
        f"User: {LBC} is not authorized to perform: sts:AssumeRoleWithWebIdentity with an explicit deny in a resource "
        "control policy",
        PERMISSION,
        "resource_control_policy",
    ),
    # The wrappings of controllers, commands and CloudTrail.
    case(
        "JSON log of a controller, SDK for Go 1",
        json.dumps(
            {
                "level": "error",
                "ts": 1677821114.891674,
                "logger": "controller-runtime.manager.controller.ingress",
                "msg": "Reconciler error",
                "name": "public",
                "namespace": "istio-system",
                "error": f"AccessDenied: {CLASSIC}\n\tstatus code: 403, request id: "
                "a99a0c2b-fc6c-476f-a70e-c5c24e91db03",
            }
        ),
        PERMISSION,
        "identity_policy",
        action=DELETE,
        resource=LOAD_BALANCER,
        subject=None,
    ),
    case(
        "JSON log of a controller, SDK for Go 2",
        json.dumps(
            {
                "level": "error",
                "msg": "Reconciler error",
                "error": "operation error Elastic Load Balancing v2: DeleteLoadBalancer, https response error "
                "StatusCode: "
                f"403, RequestID: 1, api error AccessDenied: {CLASSIC}",
            }
        ),
        PERMISSION,
        "identity_policy",
        operation="DeleteLoadBalancer",
        resource=LOAD_BALANCER,
    ),
    case(
        "JSON behind a log's prefix",
        '2026-11-24T10:00:00Z stderr F {"level":"error","error":"AccessDenied: ' + CLASSIC + '"}',
        PERMISSION,
        "identity_policy",
        resource=LOAD_BALANCER,
    ),
    case(
        "SDK for Java",
        f"{CLASSIC} (Service: ElasticLoadBalancingV2, Status Code: 403, Request ID: 1) (Service: X; Error Code: "
        "AccessDenied)",
        PERMISSION,
        "identity_policy",
        resource=LOAD_BALANCER,
    ),
    case(
        "CloudTrail, with the message",
        event(
            "DeleteLoadBalancer",
            "AccessDenied",
            CLASSIC,
            "elasticloadbalancing",
            userIdentity=SESSION,
            requestParameters={"loadBalancerArn": LOAD_BALANCER},
        ),
        PERMISSION,
        "identity_policy",
        action=DELETE,
        operation="DeleteLoadBalancer",
    ),
    case(
        "CloudTrail, without a message, of a session",
        event("GetObject", "AccessDenied", "Access Denied", "s3", userIdentity=SESSION),
        PERMISSION,
        "unstated",
        action=None,
        operation="GetObject",
    ),
    case(
        "EC2, encoded",
        "An error occurred (UnauthorizedOperation) when calling the RunInstances operation: You are not authorized to "
        "perform this operation. Encoded authorization failure message: 4GIOHlTkIaWHQD0Q0m6XSnuUMCm-abcd_EFGH",
        PERMISSION,
        "unstated",
        encoded_message="4GIOHlTkIaWHQD0Q0m6XSnuUMCm-abcd_EFGH",
        operation="RunInstances",
        caller=None,
    ),
    case(
        "EC2, encoded, with the caller",
        "UnauthorizedOperation: You are not authorized to perform this operation. User: "
        f"{LBC} is not authorized to perform: ec2:CreateSecurityGroup on resource: "
        "arn:aws:ec2:eu-central-1:123456789012:vpc/vpc-1 because no identity-based policy allows the "
        "ec2:CreateSecurityGroup action. Encoded authorization failure message: 4GIOHlTkIaWHQD0Q0m6XSnuUMCm-abcd",
        PERMISSION,
        "identity_policy",
        encoded_message="4GIOHlTkIaWHQD0Q0m6XSnuUMCm-abcd",
        action="ec2:CreateSecurityGroup",
        other_denials=0,
    ),
    case(
        "decoded authorization message",
        json.dumps(
            {
                "allowed": False,
                "explicitDeny": False,
                "matchedStatements": {"items": []},
                "failures": {"items": []},
                "context": {
                    "principal": {"id": "AROAEXAMPLE:1", "name": "1", "arn": LBC},
                    "action": "ec2:AuthorizeSecurityGroupIngress",
                    "resource": "arn:aws:ec2:eu-central-1:123456789012:security-group/sg-1",
                    "conditions": {"items": [{"key": "ec2:Vpc", "values": {"items": [{"value": "vpc-1"}]}}]},
                },
            }
        ),
        PERMISSION,
        "unstated",
        action="ec2:AuthorizeSecurityGroupIngress",
        resource="arn:aws:ec2:eu-central-1:123456789012:security-group/sg-1",
        context={"ec2:Vpc": ("vpc-1",)},
    ),
    # Trust.
    case("web identity", WEB_IDENTITY, TRUST, "web_identity"),
    case(
        "web identity, of a command",
        f"An error occurred (AccessDenied) {CALLING}: {WEB_IDENTITY}",
        TRUST,
        "web_identity",
    ),
    case("web identity, wrapped", f"{WRAPPED}AccessDenied: {WEB_IDENTITY}{STATUS.format(403)}", TRUST, "web_identity"),
    case(
        "web identity, SDK for Go 2", GO2.format(403) + f"api error AccessDenied: {WEB_IDENTITY}", TRUST, "web_identity"
    ),
    case(
        "web identity, in JSON",
        json.dumps({"level": "error", "msg": "Reconciler error", "error": f"{WRAPPED}AccessDenied: {WEB_IDENTITY}"}),
        TRUST,
        "web_identity",
    ),
    case(
        "web identity, in CloudTrail, which has no message for it",
        event(
            "AssumeRoleWithWebIdentity",
            "AccessDenied",
            "An unknown error occurred",
            userIdentity=WEB_IDENTITY_USER,
            requestParameters={"roleArn": "arn:aws:iam::123456789012:role/team/lbc", "roleSessionName": "s"},
        ),
        TRUST,
        "web_identity",
        role="arn:aws:iam::123456789012:role/team/lbc",
        subject=("cloudon", "aws-load-balancer-controller"),
        issuer=ISSUER,
        caller=None,
    ),
    case(
        "trust policy, implicit",
        f"{JOHN} sts:AssumeRole because no role trust policy allows the sts:AssumeRole action",
        TRUST,
        "trust_policy",
        explicit_deny=False,
    ),
    case(
        "trust policy, explicit",
        f"{JOHN} sts:AssumeRole with an explicit deny in the role trust policy",
        TRUST,
        "trust_policy",
        explicit_deny=True,
    ),
    case(
        "trust policy, called the resource's",
        f"{JOHN} sts:AssumeRole on resource: arn:aws:iam::210987654321:role/b because no resource-based policy allows "
        "the "
        "sts:AssumeRole action",
        TRUST,
        "trust_policy",
        role="arn:aws:iam::210987654321:role/b",
    ),
    case(
        "tags of a session",
        "User: arn:aws:sts::123456789012:assumed-role/a/s is not authorized to perform: sts:TagSession on resource: "
        "arn:aws:iam::123456789012:role/b because no role trust policy allows the sts:TagSession action",
        TRUST,
        "trust_policy",
    ),
    case(
        "pod identity",
        "Error when retrieving credentials from container-role: Error retrieving metadata: Received non 200 response "
        "400 "
        "from container metadata: [b69b1279]: (AccessDeniedException): Unauthorized Exception! EKS does not have "
        "permissions to assume the associated role., fault: client",
        TRUST,
        "pod_identity",
    ),
    # The identity, bare and wrapped.
    case(
        "no provider",
        f"InvalidIdentityToken: No OpenIDConnect provider found in your account for {ISSUER}",
        IDENTITY,
        "no_provider",
        issuer=ISSUER,
    ),
    case(
        "no provider, wrapped",
        f"{WRAPPED}InvalidIdentityToken: No OpenIDConnect provider found in your account for "
        f"{ISSUER}{STATUS.format(400)}",
        IDENTITY,
        "no_provider",
        issuer=ISSUER,
        other_denials=0,
    ),
    case(
        "no provider, in CloudTrail",
        event(
            "AssumeRoleWithWebIdentity",
            "InvalidIdentityTokenException",
            f"No OpenIDConnect provider found in your account for {ISSUER}",
            userIdentity={"type": "WebIdentityUser"},
        ),
        IDENTITY,
        "no_provider",
        issuer=ISSUER,
    ),
    case(
        "audience",
        f"An error occurred (InvalidIdentityToken) {CALLING}: Incorrect token audience",
        IDENTITY,
        "audience",
        other_denials=0,
    ),
    case(
        "audience, wrapped",
        f"{WRAPPED}InvalidIdentityToken: Incorrect token audience{STATUS.format(400)}",
        IDENTITY,
        "audience",
    ),
    case(
        "keys",
        f"An error occurred (InvalidIdentityToken) {CALLING}: Couldn't retrieve verification key from your identity "
        "provider,  please reference AssumeRoleWithWebIdentity documentation for requirements",
        IDENTITY,
        "verification_key",
    ),
    case(
        "keys, wrapped",
        f"{WRAPPED}InvalidIdentityToken: Couldn't retrieve verification key from your identity provider, please "
        "reference "
        f"AssumeRoleWithWebIdentity documentation for requirements{STATUS.format(400)}",
        IDENTITY,
        "verification_key",
    ),
    case(
        "expired token, SDK for Go 2",
        GO2.format(400) + "ExpiredTokenException: Token expired: current date/time 1753382758 must be before the "
        "expiration date/time 1753089571",
        IDENTITY,
        "token_expired",
        other_denials=0,
    ),
    case(
        "expired token, wrapped",
        f"{WRAPPED}ExpiredTokenException: Token expired: current date/time 1740387458 must be before the expiration "
        f"date/time 1740319004{STATUS.format(400)}",
        IDENTITY,
        "token_expired",
    ),
    case(
        "a token that STS does not take",
        f"An error occurred (InvalidIdentityToken) {CALLING}: The ID Token provided is not a valid JWT. (You may see "
        "this "
        "error if you sent an Access Token)",
        IDENTITY,
        "token_invalid",
    ),
    case("address", "ValidationError: Request ARN is invalid", IDENTITY, "role_arn"),
    case(
        "address, wrapped",
        f"{WRAPPED}ValidationError: Request ARN is invalid{STATUS.format(400)}",
        IDENTITY,
        "role_arn",
    ),
    case(
        "address, SDK for Go 2",
        GO2.format(400) + "api error ValidationError: Request ARN is invalid",
        IDENTITY,
        "role_arn",
    ),
    case(
        "token not there",
        f"{WRAPPED}open /var/run/secrets/eks.amazonaws.com/serviceaccount/token: no such file or directory",
        IDENTITY,
        "token_file",
    ),
    case(
        "token not readable",
        "WebIdentityErr: failed fetching WebIdentity token: \ncaused by: WebIdentityErr: unable to read file at "
        "/var/run/secrets/eks.amazonaws.com/serviceaccount/token\ncaused by: open "
        "/var/run/secrets/eks.amazonaws.com/serviceaccount/token: permission denied",
        IDENTITY,
        "token_file",
    ),
    case(
        "session ended",
        "An error occurred (ExpiredToken) when calling the ListBuckets operation: The provided token has expired.",
        IDENTITY,
        "credentials_expired",
    ),
    case(
        "session ended, of another service",
        "ExpiredTokenException: The security token included in the request is expired",
        IDENTITY,
        "credentials_expired",
    ),
    case(
        "credentials that AWS does not know",
        "An error occurred (UnrecognizedClientException) when calling the DescribeCluster operation: The security "
        "token "
        "included in the request is invalid",
        IDENTITY,
        "credentials_invalid",
    ),
    case(
        "no credentials",
        "NoCredentialProviders: no valid providers in chain. Deprecated.\n\tFor verbose messaging see "
        "aws.Config.CredentialsChainVerboseErrors",
        IDENTITY,
        "no_credentials",
    ),
    # What the message does not state.
    case(
        "bare code",
        "An error occurred (AccessDenied) when calling the GetObject operation: Access Denied",
        UNKNOWN,
        "bare_error_code",
        operation="GetObject",
    ),
    case(
        "bare status",
        "AccessDenied: Access Denied\n\tstatus code: 403, request id: 1, host id: 2",
        UNKNOWN,
        "bare_error_code",
    ),
    case(
        "a role that either side denied",
        "User: arn:aws:sts::123456789012:assumed-role/a/s is not authorized to perform: sts:AssumeRole on resource: "
        "arn:aws:iam::210987654321:role/b",
        UNKNOWN,
        "unstated",
        role="arn:aws:iam::210987654321:role/b",
    ),
    case(
        "AssumeRole in CloudTrail, without a message",
        event("AssumeRole", "AccessDenied", "An unknown error occurred", userIdentity=SESSION),
        UNKNOWN,
        "unstated",
    ),
    case(
        "anonymous, in CloudTrail",
        event("GetObject", "AccessDenied", "Access Denied", "s3", userIdentity={"type": "AWSAccount"}),
        UNKNOWN,
        "bare_error_code",
    ),
    case(
        "STS not reached",
        f"ingress: foo/bar: {WRAPPED}RequestError: send request failed\ncaused by: Post "
        '"https://sts.eu-central-1.amazonaws'
        '.com/": dial tcp: lookup sts.eu-central-1.amazonaws.com on 10.0.0.2:53: read udp: connection refused',
        UNKNOWN,
        "connection_error",
    ),
    case(
        "Kubernetes",
        'pods is forbidden: User "system:serviceaccount:shop:web" cannot list resource "pods" in API group "" in the '
        'namespace "shop"',
        UNKNOWN,
        "kubernetes_rbac",
    ),
    case(
        "encoded, and nothing else",
        "4GIOHlTkIaWHQD0Q0m6XSnuUMCm" * 8,
        UNKNOWN,
        "encoded",
        encoded_message="4GIOHlTkIaWHQD0Q0m6XSnuUMCm" * 8,
    ),
    case(
        "implicit, with the ARN of the policy that did not allow it",
        f"{JOHN} sts:AssumeRole on resource: arn:aws:iam::123456789012:role/x because no service control policy allows "
        "the sts:AssumeRole action: arn:aws:organizations::111122223333:policy/o-example/service_control_policy/p-1",
        PERMISSION,
        "service_control_policy",
        policy="arn:aws:organizations::111122223333:policy/o-example/service_control_policy/p-1",
        explicit_deny=False,
    ),
    case(
        "a JSON log that escapes quotes as HTML wants them",
        '{"level": "error", "msg": "Couldn\\u0027t retrieve verification key from your identity provider"}',
        IDENTITY,
        "verification_key",
    ),
    case(
        "a type of policy that nobody has heard of, for a role",
        f"{JOHN} sts:AssumeRole on resource: arn:aws:iam::123456789012:role/x because no lunar policy allows the "
        "sts:AssumeRole action",
        UNKNOWN,
        "other_policy",
    ),
    case(
        "web identity, with a caller: the side is not stated",
        f"{JOHN} sts:AssumeRoleWithWebIdentity on resource: arn:aws:iam::123456789012:role/x",
        UNKNOWN,
        "unstated",
        other_denials=0,
    ),
    case(
        "error code of a token, message of credentials",
        "An error occurred (ExpiredTokenException) when calling the GetObject operation: "
        "ExpiredTokenException: The provided token has expired.",
        IDENTITY,
        "credentials_expired",
    ),
    case(
        "a call within a call: the inner one failed",
        "operation error S3: GetObject, get identity: get credentials: operation error STS: AssumeRoleWithWebIdentity, "
        f"AccessDenied: {WEB_IDENTITY}",
        TRUST,
        "web_identity",
        operation="AssumeRoleWithWebIdentity",
    ),
    case(
        "a service account beside a bare error code",
        "system:serviceaccount:shop:web: Access Denied",
        UNKNOWN,
        "bare_error_code",
        subject=None,
    ),
    case(
        "a decoded message of what was allowed",
        json.dumps({"allowed": True, "explicitDeny": False, "context": {"action": "ec2:RunInstances"}}),
        UNKNOWN,
        "allowed",
    ),
    case(
        "CloudTrail, whose fields are text, as tables of it have them",
        json.dumps(
            {
                "eventName": "GetObject",
                "errorCode": "AccessDenied",
                "userIdentity": "AssumedRole",
                "requestParameters": "{}",
                "resources": ["arn:aws:s3:::x"],
            }
        ),
        UNKNOWN,
        "bare_error_code",
    ),
    case(
        "CloudTrail, with a name that no service account has",
        event(
            "AssumeRoleWithWebIdentity",
            "AccessDenied",
            "An unknown error occurred",
            userIdentity={"type": "WebIdentityUser", "userName": "system:serviceaccount:*:*"},
        ),
        TRUST,
        "web_identity",
        subject=None,
    ),
    case(
        "decoded, without the fields that STS sends",
        json.dumps({"allowed": False, "context": "x"}),
        PERMISSION,
        "unstated",
        action=None,
    ),
    case(
        "decoded, with fields of other kinds",
        json.dumps({"allowed": False, "context": {"principal": "x", "conditions": [], "action": "s3:GetObject"}}),
        PERMISSION,
        "unstated",
        action="s3:GetObject",
    ),
    case("no denial", "Throttling: Rate exceeded", UNKNOWN, "no_denial"),
    case(
        "the name of a policy type outside a denial",
        "Request to the permissions boundary service failed",
        UNKNOWN,
        "no_denial",
    ),
    case("empty", "", UNKNOWN, "no_denial"),
]
