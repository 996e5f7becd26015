// What names may be, and how many there may be of them, wherever they come from: a call of CNI, a
// network configuration, a request, a record. It imports nothing, since the plugin loads it at
// every start. Pure.

/**
 * The characters that CNI allows in container ids and network names; they also become file names
 * here.
 */
export const CNI_NAME = /^[a-zA-Z0-9][a-zA-Z0-9_.-]*$/;

/**
 * What NAME_MAX (255 bytes) leaves to a container's id in the name of a record's file, beside the
 * interface's name and suffixes.
 */
export const MAX_CNI_NAME_LENGTH = 200;

/**
 * The path of a namespace: runtimes name it after ids and UUIDs, and none has control characters in
 * it.
 */
export const SANDBOX_PATH = /^[^\p{Cc}\p{Zl}\p{Zp}]*$/u;

/**
 * An algorithm of TCP. TCP_CA_NAME_MAX of net/tcp.h is 16, its NUL included. The kernel compares
 * names byte by byte (tcp_ca_find) and allows any; its own have letters, digits, `_` and `-`, those
 * in BPF letters, digits, `_` and `.` (bpf_obj_name_cpy, which bpf_tcp_ca_init_member calls).
 */
export const CONGESTION_CONTROL = /^[a-zA-Z0-9_.-]{1,15}$/;

/** Interfaces of one pod; more than any list of plugins makes in a sandbox. */
export const MAX_POD_INTERFACES = 64;
