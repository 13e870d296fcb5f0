// SPDX-License-Identifier: Apache-2.0
// Every function of Cryptoki 2.40, once. The wrappers, the function list, the names and the numbers are expansions of
// this table, so no call can be forgotten and none can differ from its neighbours by accident.
//
// Legend: KIND(name, flags, session, mechanism, parameters, arguments)
//   KIND       PLAIN: passed through. OUTPUT: passed through, and fills the bounded buffer `out`, `out_len`, which a
//              script may spoil. OWN: behaves as own_<name> says (own.h).
//   flags      CALL_LOGIN: refused while the login is lost. CALL_KEY: names an object, which another token in the slot
//              does not have. CALL_ENDS: the call ends the operation of its session, whatever it answers (except
//              CKR_BUFFER_TOO_SMALL).
//   session    the session that the call uses, or NO_SESSION.
//   mechanism  the mechanism that the call asks for (const CK_MECHANISM *), or NULL.
#ifndef SHIM_CALLS_H
#define SHIM_CALLS_H

#include <p11-kit/pkcs11.h>

#define CALL_LOGIN  1U
#define CALL_KEY    2U
#define CALL_ENDS   4U
#define CALL_OUTPUT 8U // set by the kind, not by a row

#define NO_SESSION ((CK_SESSION_HANDLE)0)

#define USES (CALL_LOGIN | CALL_KEY)
#define ENDS (CALL_LOGIN | CALL_ENDS)

// clang-format off
// Four shapes cover the operations: begin with a key, bytes in and bytes out, bytes out at the end, bytes in.
#define CALL_BEGIN(KIND, name) KIND(name, USES, session, mechanism, \
    (CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE key), (session, mechanism, key))
#define CALL_CONVERT(KIND, name, flags) KIND(name, flags, session, NULL, \
    (CK_SESSION_HANDLE session, CK_BYTE *in, CK_ULONG in_len, CK_BYTE *out, CK_ULONG *out_len), \
    (session, in, in_len, out, out_len))
#define CALL_FINISH(KIND, name, flags) KIND(name, flags, session, NULL, \
    (CK_SESSION_HANDLE session, CK_BYTE *out, CK_ULONG *out_len), (session, out, out_len))
#define CALL_FEED(KIND, name, flags) KIND(name, flags, session, NULL, \
    (CK_SESSION_HANDLE session, CK_BYTE *in, CK_ULONG in_len), (session, in, in_len))

#define CALLS_GENERAL(PLAIN, OUTPUT, OWN) \
    PLAIN(C_Initialize, 0, NO_SESSION, NULL, (void *init_args), (init_args)) \
    OWN(C_Finalize, 0, NO_SESSION, NULL, (void *reserved), (reserved)) \
    PLAIN(C_GetInfo, 0, NO_SESSION, NULL, (CK_INFO *info), (info)) \
    OWN(C_GetFunctionList, 0, NO_SESSION, NULL, (CK_FUNCTION_LIST **list), (list)) \
    PLAIN(C_GetSlotList, 0, NO_SESSION, NULL, (CK_BBOOL present, CK_SLOT_ID *slots, CK_ULONG *count), \
        (present, slots, count)) \
    OWN(C_GetSlotInfo, 0, NO_SESSION, NULL, (CK_SLOT_ID slot, CK_SLOT_INFO *info), (slot, info)) \
    OWN(C_GetTokenInfo, 0, NO_SESSION, NULL, (CK_SLOT_ID slot, CK_TOKEN_INFO *info), (slot, info)) \
    PLAIN(C_WaitForSlotEvent, 0, NO_SESSION, NULL, (CK_FLAGS how, CK_SLOT_ID *slot, void *reserved), \
        (how, slot, reserved)) \
    OWN(C_GetMechanismList, 0, NO_SESSION, NULL, (CK_SLOT_ID slot, CK_MECHANISM_TYPE *types, CK_ULONG *count), \
        (slot, types, count)) \
    PLAIN(C_GetMechanismInfo, 0, NO_SESSION, &(CK_MECHANISM){.mechanism = type}, \
        (CK_SLOT_ID slot, CK_MECHANISM_TYPE type, CK_MECHANISM_INFO *info), (slot, type, info)) \
    PLAIN(C_InitToken, 0, NO_SESSION, NULL, (CK_SLOT_ID slot, CK_BYTE *pin, CK_ULONG pin_len, CK_BYTE *label), \
        (slot, pin, pin_len, label)) \
    PLAIN(C_InitPIN, CALL_LOGIN, session, NULL, (CK_SESSION_HANDLE session, CK_BYTE *pin, CK_ULONG pin_len), \
        (session, pin, pin_len)) \
    PLAIN(C_SetPIN, 0, session, NULL, (CK_SESSION_HANDLE session, CK_BYTE *old_pin, CK_ULONG old_len, \
        CK_BYTE *new_pin, CK_ULONG new_len), (session, old_pin, old_len, new_pin, new_len)) \
    PLAIN(C_SeedRandom, 0, session, NULL, (CK_SESSION_HANDLE session, CK_BYTE *seed, CK_ULONG seed_len), \
        (session, seed, seed_len)) \
    PLAIN(C_GenerateRandom, 0, session, NULL, (CK_SESSION_HANDLE session, CK_BYTE *bytes, CK_ULONG len), \
        (session, bytes, len))

#define CALLS_SESSION(PLAIN, OUTPUT, OWN) \
    OWN(C_OpenSession, 0, NO_SESSION, NULL, (CK_SLOT_ID slot, CK_FLAGS how, void *application, CK_NOTIFY notify, \
        CK_SESSION_HANDLE *session), (slot, how, application, notify, session)) \
    OWN(C_CloseSession, 0, NO_SESSION, NULL, (CK_SESSION_HANDLE session), (session)) \
    OWN(C_CloseAllSessions, 0, NO_SESSION, NULL, (CK_SLOT_ID slot), (slot)) \
    PLAIN(C_GetSessionInfo, 0, session, NULL, (CK_SESSION_HANDLE session, CK_SESSION_INFO *info), (session, info)) \
    CALL_FINISH(OUTPUT, C_GetOperationState, 0) \
    PLAIN(C_SetOperationState, 0, session, NULL, (CK_SESSION_HANDLE session, CK_BYTE *state, CK_ULONG state_len, \
        CK_OBJECT_HANDLE cipher_key, CK_OBJECT_HANDLE sign_key), (session, state, state_len, cipher_key, sign_key)) \
    OWN(C_Login, 0, session, NULL, (CK_SESSION_HANDLE session, CK_USER_TYPE user, CK_BYTE *pin, CK_ULONG pin_len), \
        (session, user, pin, pin_len)) \
    PLAIN(C_Logout, 0, session, NULL, (CK_SESSION_HANDLE session), (session)) \
    PLAIN(C_GetFunctionStatus, 0, session, NULL, (CK_SESSION_HANDLE session), (session)) \
    PLAIN(C_CancelFunction, 0, session, NULL, (CK_SESSION_HANDLE session), (session))

#define CALLS_OBJECT(PLAIN, OUTPUT, OWN) \
    PLAIN(C_CreateObject, CALL_LOGIN, session, NULL, (CK_SESSION_HANDLE session, CK_ATTRIBUTE *attributes, \
        CK_ULONG count, CK_OBJECT_HANDLE *object), (session, attributes, count, object)) \
    PLAIN(C_CopyObject, USES, session, NULL, (CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, \
        CK_ATTRIBUTE *attributes, CK_ULONG count, CK_OBJECT_HANDLE *copy), (session, object, attributes, count, copy)) \
    PLAIN(C_DestroyObject, USES, session, NULL, (CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object), \
        (session, object)) \
    PLAIN(C_GetObjectSize, CALL_KEY, session, NULL, (CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, \
        CK_ULONG *size), (session, object, size)) \
    PLAIN(C_GetAttributeValue, CALL_KEY, session, NULL, (CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, \
        CK_ATTRIBUTE *attributes, CK_ULONG count), (session, object, attributes, count)) \
    PLAIN(C_SetAttributeValue, USES, session, NULL, (CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, \
        CK_ATTRIBUTE *attributes, CK_ULONG count), (session, object, attributes, count)) \
    PLAIN(C_FindObjectsInit, 0, session, NULL, (CK_SESSION_HANDLE session, CK_ATTRIBUTE *attributes, \
        CK_ULONG count), (session, attributes, count)) \
    OWN(C_FindObjects, 0, session, NULL, (CK_SESSION_HANDLE session, CK_OBJECT_HANDLE *objects, CK_ULONG max, \
        CK_ULONG *count), (session, objects, max, count)) \
    PLAIN(C_FindObjectsFinal, 0, session, NULL, (CK_SESSION_HANDLE session), (session)) \
    PLAIN(C_GenerateKey, CALL_LOGIN, session, mechanism, (CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, \
        CK_ATTRIBUTE *attributes, CK_ULONG count, CK_OBJECT_HANDLE *key), \
        (session, mechanism, attributes, count, key)) \
    PLAIN(C_GenerateKeyPair, CALL_LOGIN, session, mechanism, (CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, \
        CK_ATTRIBUTE *public_attributes, CK_ULONG public_count, CK_ATTRIBUTE *private_attributes, \
        CK_ULONG private_count, CK_OBJECT_HANDLE *public_key, CK_OBJECT_HANDLE *private_key), \
        (session, mechanism, public_attributes, public_count, private_attributes, private_count, public_key, \
        private_key)) \
    OUTPUT(C_WrapKey, USES, session, mechanism, (CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, \
        CK_OBJECT_HANDLE wrapping_key, CK_OBJECT_HANDLE key, CK_BYTE *out, CK_ULONG *out_len), \
        (session, mechanism, wrapping_key, key, out, out_len)) \
    PLAIN(C_UnwrapKey, USES, session, mechanism, (CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, \
        CK_OBJECT_HANDLE unwrapping_key, CK_BYTE *wrapped, CK_ULONG wrapped_len, CK_ATTRIBUTE *attributes, \
        CK_ULONG count, CK_OBJECT_HANDLE *key), \
        (session, mechanism, unwrapping_key, wrapped, wrapped_len, attributes, count, key)) \
    PLAIN(C_DeriveKey, USES, session, mechanism, (CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, \
        CK_OBJECT_HANDLE base_key, CK_ATTRIBUTE *attributes, CK_ULONG count, CK_OBJECT_HANDLE *key), \
        (session, mechanism, base_key, attributes, count, key))

#define CALLS_CIPHER(PLAIN, OUTPUT, OWN) \
    CALL_BEGIN(PLAIN, C_EncryptInit) \
    CALL_CONVERT(OUTPUT, C_Encrypt, ENDS) \
    CALL_CONVERT(OUTPUT, C_EncryptUpdate, CALL_LOGIN) \
    CALL_FINISH(OUTPUT, C_EncryptFinal, ENDS) \
    CALL_BEGIN(PLAIN, C_DecryptInit) \
    CALL_CONVERT(OUTPUT, C_Decrypt, ENDS) \
    CALL_CONVERT(OUTPUT, C_DecryptUpdate, CALL_LOGIN) \
    CALL_FINISH(OUTPUT, C_DecryptFinal, ENDS) \
    PLAIN(C_DigestInit, 0, session, mechanism, (CK_SESSION_HANDLE session, CK_MECHANISM *mechanism), \
        (session, mechanism)) \
    CALL_CONVERT(OUTPUT, C_Digest, CALL_ENDS) \
    CALL_FEED(PLAIN, C_DigestUpdate, 0) \
    PLAIN(C_DigestKey, USES, session, NULL, (CK_SESSION_HANDLE session, CK_OBJECT_HANDLE key), (session, key)) \
    CALL_FINISH(OUTPUT, C_DigestFinal, CALL_ENDS)

#define CALLS_SIGN(PLAIN, OUTPUT, OWN) \
    CALL_BEGIN(PLAIN, C_SignInit) \
    CALL_CONVERT(OUTPUT, C_Sign, ENDS) \
    CALL_FEED(PLAIN, C_SignUpdate, CALL_LOGIN) \
    CALL_FINISH(OUTPUT, C_SignFinal, ENDS) \
    CALL_BEGIN(PLAIN, C_SignRecoverInit) \
    CALL_CONVERT(OUTPUT, C_SignRecover, ENDS) \
    CALL_BEGIN(PLAIN, C_VerifyInit) \
    PLAIN(C_Verify, ENDS, session, NULL, (CK_SESSION_HANDLE session, CK_BYTE *in, CK_ULONG in_len, \
        CK_BYTE *signature, CK_ULONG signature_len), (session, in, in_len, signature, signature_len)) \
    CALL_FEED(PLAIN, C_VerifyUpdate, CALL_LOGIN) \
    CALL_FEED(PLAIN, C_VerifyFinal, ENDS) \
    CALL_BEGIN(PLAIN, C_VerifyRecoverInit) \
    CALL_CONVERT(OUTPUT, C_VerifyRecover, ENDS) \
    CALL_CONVERT(OUTPUT, C_DigestEncryptUpdate, CALL_LOGIN) \
    CALL_CONVERT(OUTPUT, C_DecryptDigestUpdate, CALL_LOGIN) \
    CALL_CONVERT(OUTPUT, C_SignEncryptUpdate, CALL_LOGIN) \
    CALL_CONVERT(OUTPUT, C_DecryptVerifyUpdate, CALL_LOGIN)

#define CALLS(PLAIN, OUTPUT, OWN) \
    CALLS_GENERAL(PLAIN, OUTPUT, OWN) \
    CALLS_SESSION(PLAIN, OUTPUT, OWN) \
    CALLS_OBJECT(PLAIN, OUTPUT, OWN) \
    CALLS_CIPHER(PLAIN, OUTPUT, OWN) \
    CALLS_SIGN(PLAIN, OUTPUT, OWN)
// clang-format on

// The arguments of a row without their parentheses, to put one more in front.
#define CALL_BARE(...) __VA_ARGS__

#define CALL_ID(name, ...) CALL_##name,
enum call_id { CALLS(CALL_ID, CALL_ID, CALL_ID) CALL_COUNT };
#undef CALL_ID

_Static_assert(CALL_COUNT == 68, "Cryptoki 2.40 has 68 functions");

struct call_info {
    const char *name;
    unsigned flags;
};

// One entry per call, by call_id.
extern const struct call_info call_infos[CALL_COUNT];

#endif
