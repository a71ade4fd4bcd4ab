# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which network sysctls Linux has once for the whole node, so that no pod can set them. Pure.

The kubelet's list knows prefixes only (C(net.)), and accepts them all. A pod that sets such a sysctl stays Pending.
docs/facts/sysctl_nodegroup.md#sysctls-of-the-whole-node
"""

from __future__ import annotations

import re
from typing import Optional

# By directory: sysctls of which the network namespace of a pod has no copy, or one that cannot be written.
_NODE_WIDE = {
    "net": """
        nf_conntrack_max
    """,
    "net.core": """
        bpf_jit_enable bpf_jit_harden bpf_jit_kallsyms bpf_jit_limit busy_poll busy_read default_qdisc
        dev_weight dev_weight_rx_bias dev_weight_tx_bias devconf_inherit_init_net
        fb_tunnels_only_for_init_net flow_limit_cpu_bitmap flow_limit_table_len gro_normal_batch
        high_order_alloc_disable max_skb_frags mem_pcpu_rsv message_burst message_cost netdev_budget
        netdev_budget_usecs netdev_max_backlog netdev_rss_key netdev_tstamp_prequeue
        netdev_unregister_timeout_secs rmem_default rmem_max rps_sock_flow_entries skb_defer_max warnings
        wmem_default wmem_max
    """,
    "net.ipv4": """
        cipso_cache_bucket_size cipso_cache_enable cipso_rbm_optfmt cipso_rbm_strictvalid fib_sync_mem
        inet_peer_maxttl inet_peer_minttl inet_peer_threshold ipfrag_secret_interval
        tcp_allowed_congestion_control tcp_available_congestion_control tcp_available_ulp tcp_ehash_entries
        tcp_low_latency tcp_max_orphans tcp_mem tcp_rx_skb_cache tcp_tx_skb_cache udp_hash_entries udp_mem
    """,
    "net.ipv4.route": """
        error_burst error_cost gc_elasticity gc_interval gc_min_interval gc_min_interval_ms gc_thresh
        gc_timeout max_size redirect_load redirect_number redirect_silence
    """,
    "net.ipv6": """
        calipso_cache_bucket_size calipso_cache_enable ip6frag_secret_interval mld_max_msf mld_qrv
    """,
    "net.mptcp": """
        available_path_managers available_schedulers
    """,
    "net.netfilter": """
        nf_conntrack_buckets nf_conntrack_count nf_conntrack_expect_max nf_conntrack_max nf_log_all_netns
    """,
    "net.sctp": """
        sctp_mem sctp_rmem sctp_wmem
    """,
}
# Directories that belong to the node as a whole.
_NODE_WIDE_DIRECTORIES = (
    "net.ipv4.neigh.default.",
    "net.ipv6.neigh.default.",
    *(
        f"net.{name}."
        for name in ("appletalk", "ax25", "llc", "netrom", "phonet", "rds", "rose", "rxrpc", "tipc", "x25")
    ),
)
_INTERFACE_SETTING = re.compile(r"net\.ipv[46]\.conf\.[^.]+\.(.+)")
_READ_ONLY_SETTING = "mc_forwarding"  # of every interface
# Sysctls of the same directories that a pod can set: a pattern that covers one of them has a use.
_PER_NAMESPACE = {
    "net.core": """
        optmem_max rps_default_mask somaxconn tstamp_allow_data txrehash xfrm_acq_expires xfrm_aevent_etime
        xfrm_aevent_rseqth xfrm_larval_drop
    """,
    "net.ipv4": """
        fib_multipath_hash_fields fib_multipath_hash_policy fib_multipath_hash_seed fib_multipath_use_neigh
        fib_notify_on_flag_change fwmark_reflect icmp_echo_enable_probe icmp_echo_ignore_all
        icmp_echo_ignore_broadcasts icmp_errors_use_inbound_ifaddr icmp_ignore_bogus_error_responses
        icmp_msgs_burst icmp_msgs_per_sec icmp_ratelimit icmp_ratemask igmp_link_local_mcast_reports
        igmp_max_memberships igmp_max_msf igmp_qrv ip_autobind_reuse ip_default_ttl ip_dynaddr
        ip_early_demux ip_forward ip_forward_update_priority ip_forward_use_pmtu ip_local_port_range
        ip_local_reserved_ports ip_no_pmtu_disc ip_nonlocal_bind ip_unprivileged_port_start
        ipfrag_high_thresh ipfrag_low_thresh ipfrag_max_dist ipfrag_time nexthop_compat_mode
        ping_group_range raw_l3mdev_accept tcp_abort_on_overflow tcp_adv_win_scale tcp_app_win
        tcp_autocorking tcp_backlog_ack_defer tcp_base_mss tcp_challenge_ack_limit tcp_child_ehash_entries
        tcp_comp_sack_delay_ns tcp_comp_sack_nr tcp_comp_sack_slack_ns tcp_congestion_control tcp_dsack
        tcp_early_demux tcp_early_retrans tcp_ecn tcp_ecn_fallback tcp_ecn_option tcp_ecn_option_beacon
        tcp_fack tcp_fastopen tcp_fastopen_blackhole_timeout_sec tcp_fastopen_key tcp_fin_timeout tcp_frto
        tcp_fwmark_accept tcp_invalid_ratelimit tcp_keepalive_intvl tcp_keepalive_probes tcp_keepalive_time
        tcp_l3mdev_accept tcp_limit_output_bytes tcp_max_reordering tcp_max_syn_backlog tcp_max_tw_buckets
        tcp_migrate_req tcp_min_rtt_wlen tcp_min_snd_mss tcp_min_tso_segs tcp_moderate_rcvbuf
        tcp_mtu_probe_floor tcp_mtu_probing tcp_no_metrics_save tcp_no_ssthresh_metrics_save
        tcp_notsent_lowat tcp_orphan_retries tcp_pacing_ca_ratio tcp_pacing_ss_ratio tcp_pingpong_thresh
        tcp_plb_cong_thresh tcp_plb_enabled tcp_plb_idle_rehash_rounds tcp_plb_rehash_rounds
        tcp_plb_suspend_rto_sec tcp_probe_interval tcp_probe_threshold tcp_recovery tcp_reflect_tos
        tcp_reordering tcp_retrans_collapse tcp_retries1 tcp_retries2 tcp_rfc1337 tcp_rmem tcp_rto_max_ms
        tcp_rto_min_us tcp_sack tcp_shrink_window tcp_slow_start_after_idle tcp_stdurg
        tcp_syn_linear_timeouts tcp_syn_retries tcp_synack_retries tcp_syncookies tcp_thin_linear_timeouts
        tcp_timestamps tcp_tso_rtt_log tcp_tso_win_divisor tcp_tw_reuse tcp_tw_reuse_delay
        tcp_window_scaling tcp_wmem tcp_workaround_signed_windows udp_child_hash_entries udp_early_demux
        udp_l3mdev_accept udp_rmem_min udp_wmem_min xfrm4_gc_thresh
    """,
    "net.ipv4.route": """
        flush min_adv_mss min_pmtu mtu_expires
    """,
    "net.ipv6": """
        anycast_src_echo_reply auto_flowlabels bindv6only fib_multipath_hash_fields
        fib_multipath_hash_policy fib_notify_on_flag_change flowlabel_consistency flowlabel_reflect
        flowlabel_state_ranges fwmark_reflect idgen_delay idgen_retries ioam6_id ioam6_id_wide
        ip6frag_high_thresh ip6frag_low_thresh ip6frag_time ip_nonlocal_bind max_dst_opts_length
        max_dst_opts_number max_hbh_length max_hbh_opts_number seg6_flowlabel xfrm6_gc_thresh
    """,
    "net.mptcp": """
        add_addr_timeout allow_join_initial_addr_port blackhole_timeout checksum_enabled close_timeout
        enabled path_manager pm_type scheduler stale_loss_cnt syn_retrans_before_tcp_fallback
    """,
    "net.netfilter": """
        nf_conntrack_acct nf_conntrack_checksum nf_conntrack_events nf_conntrack_frag6_high_thresh
        nf_conntrack_frag6_low_thresh nf_conntrack_frag6_timeout nf_conntrack_generic_timeout
        nf_conntrack_gre_timeout nf_conntrack_gre_timeout_stream nf_conntrack_icmp_timeout
        nf_conntrack_icmpv6_timeout nf_conntrack_log_invalid nf_conntrack_sctp_timeout_closed
        nf_conntrack_sctp_timeout_cookie_echoed nf_conntrack_sctp_timeout_cookie_wait
        nf_conntrack_sctp_timeout_established nf_conntrack_sctp_timeout_heartbeat_sent
        nf_conntrack_sctp_timeout_shutdown_ack_sent nf_conntrack_sctp_timeout_shutdown_recd
        nf_conntrack_sctp_timeout_shutdown_sent nf_conntrack_tcp_be_liberal
        nf_conntrack_tcp_ignore_invalid_rst nf_conntrack_tcp_loose nf_conntrack_tcp_max_retrans
        nf_conntrack_tcp_timeout_close nf_conntrack_tcp_timeout_close_wait
        nf_conntrack_tcp_timeout_established nf_conntrack_tcp_timeout_fin_wait
        nf_conntrack_tcp_timeout_last_ack nf_conntrack_tcp_timeout_max_retrans
        nf_conntrack_tcp_timeout_syn_recv nf_conntrack_tcp_timeout_syn_sent
        nf_conntrack_tcp_timeout_time_wait nf_conntrack_tcp_timeout_unacknowledged nf_conntrack_timestamp
        nf_conntrack_udp_timeout nf_conntrack_udp_timeout_stream nf_hooks_lwtunnel
    """,
    "net.sctp": """
        addip_enable addip_noauth_enable addr_scope_policy association_max_retrans auth_enable
        cookie_hmac_alg cookie_preserve_enable default_auto_asconf ecn_enable encap_port hb_interval
        intl_enable l3mdev_accept max_autoclose max_burst max_init_retransmits path_max_retrans pf_enable
        pf_expose pf_retrans plpmtud_probe_interval prsctp_enable ps_retrans rcvbuf_policy reconf_enable
        rto_alpha_exp_divisor rto_beta_exp_divisor rto_initial rto_max rto_min rwnd_update_shift
        sack_timeout sndbuf_policy udp_port valid_cookie_life
    """,
}
# Sysctls of the whole node that got a copy per namespace, and the first kernel with it.
_PER_NAMESPACE_SINCE = {
    "net.core.optmem_max": (6, 8),
    "net.core.tstamp_allow_data": (6, 18),
    "net.ipv4.icmp_msgs_burst": (6, 1),
    "net.ipv4.icmp_msgs_per_sec": (6, 1),
    "net.ipv4.route.min_adv_mss": (5, 18),
    "net.ipv4.route.min_pmtu": (5, 18),
    "net.ipv4.route.mtu_expires": (5, 18),
}


def _expand_names(table: dict[str, str]) -> frozenset[str]:
    return frozenset(f"{directory}.{name}" for directory, names in table.items() for name in names.split())


NODE_WIDE_SYSCTLS = _expand_names(_NODE_WIDE)
NAMESPACED_SYSCTLS = _expand_names(_PER_NAMESPACE)


def get_node_wide_reason(name: str, kernel: Optional[tuple[int, int]] = None) -> Optional[str]:
    """Why no pod can set the sysctl, or any sysctl of a pattern, with this kernel; None where a pod may.

    C(name) has dots. Without a kernel, the newest known one decides. A sysctl that no table has is not judged.
    """
    since = _PER_NAMESPACE_SINCE.get(name)
    if since and kernel and kernel < since:
        return (
            f"no pod can set it: Linux has it per network namespace only since {since[0]}.{since[1]}, and the nodes' "
            f"kernel is {kernel[0]}.{kernel[1]}"
        )
    setting = _INTERFACE_SETTING.fullmatch(name)
    if name.endswith("*"):
        prefix = name[:-1]
        if setting and setting.group(1).startswith("mc_") and _READ_ONLY_SETTING.startswith(setting.group(1)[:-1]):
            return "no pod can set any sysctl that it covers: Linux lets nobody write them"
        covered = prefix.startswith(_NODE_WIDE_DIRECTORIES) or any(
            node_wide.startswith(prefix) for node_wide in NODE_WIDE_SYSCTLS
        )
        if covered and not any(namespaced.startswith(prefix) for namespaced in NAMESPACED_SYSCTLS):
            return "no pod can set any sysctl that it covers: Linux has them once for the whole node"
        return None
    if setting and setting.group(1) == _READ_ONLY_SETTING:
        return "no pod can set it: Linux lets nobody write it"
    if name in NODE_WIDE_SYSCTLS or name.startswith(_NODE_WIDE_DIRECTORIES):
        return "no pod can set it: Linux has it once for the whole node"
    return None


def get_minimum_kernel(name: str) -> Optional[tuple[int, int]]:
    """The first kernel whose pods can set the sysctl, where that is known to matter."""
    return _PER_NAMESPACE_SINCE.get(name)
