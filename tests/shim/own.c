// SPDX-License-Identifier: Apache-2.0
#include "own.h"

#include "state.h"

#include <string.h>

#define MAX_MECHANISMS 1024

CK_RV own_C_GetFunctionList(struct call *call, CK_FUNCTION_LIST **list)
{
    (void)call; // the real module's own list would lead around the shim
    if (list == NULL)
        return CKR_ARGUMENTS_BAD;
    *list = own_function_list();
    return CKR_OK;
}

CK_RV own_C_Finalize(struct call *call, void *reserved)
{
    CK_RV rv = call->real->C_Finalize(reserved);
    if (rv != CKR_OK)
        return rv;
    struct state *state = state_lock();
    state->sessions.count = 0;
    state->login_lost = false;
    state->logout_due = false;
    state_unlock(state);
    return rv;
}

// Cryptoki's texts are padded with blanks and have no end mark.
static void put_text(CK_UTF8CHAR *field, size_t size, const char *text)
{
    memset(field, ' ', size);
    for (size_t i = 0; i < size && text[i] != '\0'; i++)
        field[i] = (CK_UTF8CHAR)text[i];
}

CK_RV own_C_GetSlotInfo(struct call *call, CK_SLOT_ID slot, CK_SLOT_INFO *info)
{
    CK_RV rv = call->real->C_GetSlotInfo(slot, info);
    if (rv == CKR_OK && call->swapped) {
        put_text(info->slotDescription, sizeof(info->slotDescription), "Nexus shim, serial 5A5A5A5A5A5A5A5A");
        call->touched = true;
    }
    return rv;
}

CK_RV own_C_GetTokenInfo(struct call *call, CK_SLOT_ID slot, CK_TOKEN_INFO *info)
{
    CK_RV rv = call->real->C_GetTokenInfo(slot, info);
    if (rv != CKR_OK)
        return rv;
    info->flags |= call->token_flags;
    call->touched = call->swapped || call->token_flags != 0;
    if (call->swapped) {
        put_text(info->serialNumber, sizeof(info->serialNumber), "5A5A5A5A5A5A5A5A");
        put_text(info->label, sizeof(info->label), "another token");
    }
    return rv;
}

CK_RV own_C_GetMechanismList(struct call *call, CK_SLOT_ID slot, CK_MECHANISM_TYPE *types, CK_ULONG *count)
{
    CK_MECHANISM_TYPE all[MAX_MECHANISMS];
    CK_ULONG all_count = MAX_MECHANISMS;
    if (count == NULL)
        return CKR_ARGUMENTS_BAD;
    CK_RV rv = call->real->C_GetMechanismList(slot, all, &all_count);
    if (rv != CKR_OK)
        return rv;
    CK_ULONG kept = 0;
    struct state *state = state_lock();
    for (CK_ULONG i = 0; i < all_count; i++) {
        if (!state_is_hidden(state, all[i]))
            all[kept++] = all[i];
    }
    state_unlock(state);
    call->touched = kept != all_count;
    CK_ULONG room = *count;
    *count = kept;
    if (types == NULL)
        return CKR_OK;
    if (room < kept)
        return CKR_BUFFER_TOO_SMALL;
    memcpy(types, all, kept * sizeof(*types));
    return CKR_OK;
}

CK_RV own_C_OpenSession(struct call *call, CK_SLOT_ID slot, CK_FLAGS how, void *application, CK_NOTIFY notify,
                        CK_SESSION_HANDLE *session)
{
    struct state *state = state_lock();
    bool reserved = sessions_reserve(&state->sessions, call->effect.limited ? call->effect.limit : SESSIONS_MAX);
    unsigned epoch = state->token_epoch;
    state_unlock(state);
    if (!reserved) {
        call->touched = true;
        return CKR_SESSION_COUNT;
    }
    CK_RV rv = call->real->C_OpenSession(slot, how, application, notify, session);
    state = state_lock();
    struct session opened = {.slot = slot, .epoch = epoch};
    if (rv == CKR_OK)
        opened.handle = *session;
    sessions_settle(&state->sessions, rv == CKR_OK ? &opened : NULL);
    state_unlock(state);
    return rv;
}

CK_RV own_C_CloseSession(struct call *call, CK_SESSION_HANDLE session)
{
    CK_RV rv = call->real->C_CloseSession(session);
    struct state *state = state_lock();
    unsigned epoch = state->token_epoch;
    // A session of a token that is gone is closed already, as far as the caller can know.
    bool gone = sessions_epoch(&state->sessions, session, &epoch) && epoch != state->token_epoch;
    if (rv == CKR_OK)
        sessions_remove(&state->sessions, session);
    state_unlock(state);
    if (gone) {
        call->touched = true;
        rv = CKR_SESSION_HANDLE_INVALID;
    }
    return rv;
}

CK_RV own_C_CloseAllSessions(struct call *call, CK_SLOT_ID slot)
{
    CK_RV rv = call->real->C_CloseAllSessions(slot);
    struct state *state = state_lock();
    if (rv == CKR_OK)
        sessions_remove_slot(&state->sessions, slot);
    state_unlock(state);
    return rv;
}

CK_RV own_C_Login(struct call *call, CK_SESSION_HANDLE session, CK_USER_TYPE user, CK_BYTE *pin, CK_ULONG pin_len)
{
    CK_RV rv = call->real->C_Login(session, user, pin, pin_len);
    struct state *state = state_lock();
    if (user == CKU_USER && (rv == CKR_OK || rv == CKR_USER_ALREADY_LOGGED_IN))
        state->login_lost = false;
    state_unlock(state);
    return rv;
}

CK_RV own_C_FindObjects(struct call *call, CK_SESSION_HANDLE session, CK_OBJECT_HANDLE *objects, CK_ULONG max,
                        CK_ULONG *count)
{
    CK_RV rv = call->real->C_FindObjects(session, objects, max, count);
    if (rv == CKR_OK && call->swapped) {
        *count = 0;
        call->touched = true;
    }
    return rv;
}
