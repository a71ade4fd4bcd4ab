#!/usr/bin/env bash
# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
# bootstrap.sh [OPTION VALUE]... CLUSTER: an imitation of the AL2 AMI's bootstrap.sh for the bed. It parses arguments as
# the real script does: the value of an option is the next word, and the last occurrence of an option wins. Everything
# else is a positional argument, of which only the first is read.
set -euo pipefail

declare -A value=()
positional=()
while (($#)); do
  case $1 in
    --kubelet-extra-args | --b64-cluster-ca | --apiserver-endpoint | --dns-cluster-ip | --use-max-pods | \
      --aws-api-retry-attempts | --container-runtime | --containerd-config-file | --docker-config-json | \
      --enable-docker-bridge | --enable-local-outpost | --cluster-id | --ip-family | --local-disks | --mount-bpf-fs | \
      --pause-container-account | --pause-container-version | --service-ipv4-cidr | --service-ipv6-cidr)
      value[$1]=$2
      shift 2
      ;;
    *)
      positional+=("$1")
      shift
      ;;
  esac
done
cluster=${positional[0]:-}
if [[ -z $cluster ]]; then
  echo "CLUSTER_NAME is not defined" >&2
  exit 1
fi

# Responses of the metadata service and of AWS, which the bed has written.
. /etc/eks/metadata
ca=${value[--b64-cluster-ca]:-}
endpoint=${value[--apiserver-endpoint]:-}
dns=${value[--dns-cluster-ip]:-}
if [[ -z $ca || -z $endpoint ]]; then
  if [[ $cluster != "$EKS_NAME" ]]; then
    echo "An error occurred (ResourceNotFoundException) when calling the DescribeCluster operation:" \
      "No cluster found for name: $cluster." >&2
    exit 254
  fi
  ca=$EKS_CA endpoint=$EKS_ENDPOINT
  dns=${dns:-$EKS_DNS}
fi

mkdir -p /etc/kubernetes/pki /var/lib/kubelet /etc/systemd/system/kubelet.service.d
base64 -d <<<"$ca" >/etc/kubernetes/pki/ca.crt
cat >/var/lib/kubelet/kubeconfig <<EOT
apiVersion: v1
kind: Config
clusters:
- name: kubernetes
  cluster:
    certificate-authority: /etc/kubernetes/pki/ca.crt
    server: $endpoint
contexts:
- name: kubelet
  context:
    cluster: kubernetes
    user: kubelet
current-context: kubelet
users:
- name: kubelet
  user:
    exec:
      apiVersion: client.authentication.k8s.io/v1beta1
      command: /usr/bin/aws-iam-authenticator
      args: [token, -i, "$cluster", --region, "$IMDS_REGION"]
      interactiveMode: Never
EOT

# Only these keys of the AMI's file are set. Settings that the user data has written before stay.
config=/etc/kubernetes/kubelet/kubelet-config.json
changed=$(jq --arg dns "${dns:-10.100.0.10}" --arg id "$IMDS_PROVIDER_ID" '.clusterDNS = [$dns] | .providerID = $id' $config)
echo "$changed" >$config

units=/etc/systemd/system/kubelet.service.d
cat >$units/10-kubelet-args.conf <<EOT
[Service]
Environment='KUBELET_ARGS=--node-ip=$IMDS_LOCAL_IPV4 --hostname-override=$IMDS_PRIVATE_DNS_NAME --cloud-provider=external'
EOT
if [[ -n ${value[--kubelet-extra-args]:-} ]]; then
  cat >$units/30-kubelet-extra-args.conf <<EOT
[Service]
Environment='KUBELET_EXTRA_ARGS=${value[--kubelet-extra-args]}'
EOT
fi
systemctl daemon-reload
systemctl enable kubelet
systemctl start kubelet
