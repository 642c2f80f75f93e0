-- Tokens and signatures made by Go 1.26's crypto/rsa, crypto/hmac and math/big, which share no code
-- with OpenSSL. The private keys are gone.

local function joined(text)
  return (text:gsub("%s+", ""))
end

local vectors = {}

vectors.key = {
  n = joined [[
    n-IOFt9LjIO06B1Uuh8IpJ7vt38H2bUMieXbalX8HTR1jB6peosYDWSjIwpgoeeNUfOr4FtE6TpwgRfd3NHhwdy3efU5wh
    UITVxtG5yLVH57Vgdnl8OxUlSgBGylyX4vHG0KQ08KXvzE8WHX2MIQQucA5g8wFSTZMrZIsJfbisdpKBaJod3juSEtTL_I
    VeIIwKCZawqeYzfGtFfBtZl3SGJGBpYDvXfr8ar4quikY1BiMWTZAiE5S67e1kGJzfsr6WTPr-h5S55--vBDF6T_s8XR7J
    C8VvJWYfjhuFhR0pNoSVPAZnH2-9G1EU9HhmzxOytObsGC84uUUYDWwoB5rQ
  ]],
  e = "AQAB",
}

vectors.large_key = {
  n = joined [[
    wQZ9eztAxQjvctWFfO0Ya4uLIH8Qm7f_GRumkTwQsuvHZj3-m7zvsdvP-1xAN9ChBZS-lWotdu3ryTCycrg5girzwrZUz-
    ERAnr08HY8yTKsG2ABld5lqfIS9xfSjDVDubDL39jJSiwyY_SwTsyt_keFERDzRsxKJhisyFPUhJj-xITMQBOqOKFYivVB
    E8jqSIGFJv9KAcS-OtqyB_0wZ-APjszcIHOlJf4dJuJRbmG3dl34o50RRp3l3szkJUr3Fww6E6Pab5HeTL0eI7XziepILF
    oHuBAcxP8kwgFlwUMHAwEyulm_hlW3MPIacLC5GbNYt2A_1HFI03ccDb3LYwMyOBtsvggdZyMVYfpE4r5GDDC7bZLnitl9
    KjZdzo3QHnhBYy3expIEVg7r1KN-aJd3tkHilgBny-c0GDkwJB_gukLxdHF41tMvE_kFVj9FkIv7NDkONnCneZEQq_9b-s
    LBFm88O--LdKxzsex6iRkHHDa7MgoTHIVuctdDNT4GniX7HLSZDTzwSF-1U0CqS04JGGqZwifd4Qd-mREe69XrzhGwzm_J
    q_Rq95Pkz_20bdkgZqD68wqkxv4a5inAIYSiJjRbmekQBLTMmNkQfoIMMC4ocqLmJl4J_m_Lhshg7BCeCscrEXXyNSrU21
    8Hr386DSyYtlGedaiunm4eK4M
  ]],
  e = "AQAB",
}

vectors.pem = [[
-----BEGIN PUBLIC KEY-----
MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAn+IOFt9LjIO06B1Uuh8I
pJ7vt38H2bUMieXbalX8HTR1jB6peosYDWSjIwpgoeeNUfOr4FtE6TpwgRfd3NHh
wdy3efU5whUITVxtG5yLVH57Vgdnl8OxUlSgBGylyX4vHG0KQ08KXvzE8WHX2MIQ
QucA5g8wFSTZMrZIsJfbisdpKBaJod3juSEtTL/IVeIIwKCZawqeYzfGtFfBtZl3
SGJGBpYDvXfr8ar4quikY1BiMWTZAiE5S67e1kGJzfsr6WTPr+h5S55++vBDF6T/
s8XR7JC8VvJWYfjhuFhR0pNoSVPAZnH2+9G1EU9HhmzxOytObsGC84uUUYDWwoB5
rQIDAQAB
-----END PUBLIC KEY-----
]]

vectors.rsa_pem = [[
-----BEGIN RSA PUBLIC KEY-----
MIIBCgKCAQEAn+IOFt9LjIO06B1Uuh8IpJ7vt38H2bUMieXbalX8HTR1jB6peosY
DWSjIwpgoeeNUfOr4FtE6TpwgRfd3NHhwdy3efU5whUITVxtG5yLVH57Vgdnl8Ox
UlSgBGylyX4vHG0KQ08KXvzE8WHX2MIQQucA5g8wFSTZMrZIsJfbisdpKBaJod3j
uSEtTL/IVeIIwKCZawqeYzfGtFfBtZl3SGJGBpYDvXfr8ar4quikY1BiMWTZAiE5
S67e1kGJzfsr6WTPr+h5S55++vBDF6T/s8XR7JC8VvJWYfjhuFhR0pNoSVPAZnH2
+9G1EU9HhmzxOytObsGC84uUUYDWwoB5rQIDAQAB
-----END RSA PUBLIC KEY-----
]]

-- What is signed below: a header with cat, kid and typ, and a payload with custom claims.
vectors.signed = joined [[
    eyJhbGciOiJSUzI1NiIsImNhdCI6ImNsX0I3ZDRQRDMzM0FBQSIsImtpZCI6Imluc18yeGhGakVJNVgycVdSdnRWMTNCel
    NqOEg2RGsiLCJ0eXAiOiJKV1QifQ.eyJpc3MiOiJodHRwczovL2NsZXJrLmV4YW1wbGUuY29tIiwic3ViIjoibWNoXzJ4a
    EZqRUk1WDJxV1J2dFYxM0J6U2o4SDZEayIsImp0aSI6Im10XzAxMjM0NTY3ODlhYmNkZWYwMTIzNDU2Nzg5YWJjZGVmIiw
    iaWF0IjoxNzUwMDAwMDAwLCJuYmYiOjE3NDk5OTk5OTAsImV4cCI6NDEwMjQ0NDgwMCwiYXVkIjpbIm1jaF9vdGhlciJdL
    CJzY29wZXMiOiJtY2hfb25lIG1jaF90d28iLCJyb2xlIjoid29ya2VyIiwibGltaXRzIjp7InJwcyI6MTAsImJ1cnN0Ijo
    xLjUsIm5vbmUiOm51bGwsInRhZ3MiOlsiYSIsbnVsbCwiXHUwMGU0Il19fQ
  ]]

vectors.signature = joined [[
    bUVG3t7nu75P0tleKDAHICa7Btq8r8Mf8DYU-sPgkpT7NmFHS4ny6WMJH3EYrHEfYadfKf7Hpg1QUS_XAi-m9M4iaCXyQK
    DjSJnh97Ghd29pUUzqwe5JculK5-swAWb3Lg3sgL4iZlhmupxohglU3Pjf2MGg5iOhL8OIerfJ4GYLjWVVkPsTS4tUdAHT
    A5p05HnCttlZpRv_dRdlSzw09PTZjFXmq_uoPxGE-Vr3tDNJT6rsvcG60-Rf7TSi5K9hg4Jk7j3kJri6MU2jYutlxaKDlC
    H8MAWH_Vi7wVhPsvQyhFpy2nXpK3EuvQ9NPAP9_F5_0lln26jnWPEmbgY9eA
  ]]

vectors.large_signature = joined [[
    JcySj1LQT2_IZZ7IO0afI98CiP3qyH-s586c3mmu6VXs7FkTsm-Xy_zVmZNrcDTNAuR71klHYeLUNBKitjvz7RgD7S7TMQ
    W9J5CmbToXGk92ihJPcS9SCPsIjam77aLuXSWnFOgvE9kGFHZpQIKDBzJ6qBylPFSECp3PAoFXxzbu9RPBIjZ2ZqVXzT0E
    4E6qm8ohSzneuGV98FIWZe8SlSsEK7CaDfezXbHKofhJvFFtQUufv4nVETAU89QIiPoNkMj9tMuEqptLq5HoQ4fAhjHKTC
    AJ52UVSlKuFj0NkN1HjOX4ONn8Ia7shlDs3MXADlB5_eahF9SGTgpkivDA619vDDHU63dArcG4_UsmbRLJ8YUpmnsoQGoM
    qgkDHCHLWKV9FDM1gVZk1LIAqyrdck_1Nh7_piAJrCoNw82lH3M7v3fVLPLF6phsMrIeTBULuX5Htg1XSUNxLSJI0FW98a
    wkVL8fzgz_JWjntMtW3kk1tEwn0qVuDehPWPyQ-iPvIQmg1o828OUmByVFxsa6r0eehy9UtIl4ZRi9nFWoUgTF-iG0Rag0
    pfyKxHDVYZzSprPc70rCrkzXsN1lF8P9aTdj9d4PfoXc0mjukXHyOQ6qU9Reyw0sxBB7ac-_j-cUhl6Yz8WfvtULsVrRzm
    PU53gJNLPo0oKuS35s1EIFobQ
  ]]

-- Signatures over the same that are not RSASSA-PKCS1-v1_5 with SHA-256, all by the key's owner.
vectors.others = {
  ["SHA-384 instead"] = joined [[
    COYIzjq6jl6UYFPS7jqyt5cs2ykJ6HRc_5FZRWofjImtHnia4jxDsVxf3CIl9zR4SnjtivmZ1gHYKfh6kVXTt1tJidqmeY
    aU1mjH2bJQeF19pw2hd5TmDAt3B5QNTRs7CjbMbPMP2Rxv9U8d3l8KC6iUB2BlosiiMejSb_fWRj5mTSvR95Kc-sFnCxnn
    GNBQT0dDuJ7WYEtrFKHRXjIXZpt_j12zJJ7DFbwxBPiauBZOidba0-Q3r0FnzC4dGGJQaNy8SSncAurzYqhZ9U-92GxcPU
    KeOfdDA5b-Nk_aJcnI0Lbdjh1E9IHzkG5Uck-hJijBnB3B4EGvqLVOyrX6QQ
  ]],
  ["SHA-512 instead"] = joined [[
    mq2RUGVSY0gzaEvbvud7gvFCikvFCIzAV5rIbEgivZcs-wlfLbBjz6AYWbO3sl7J-qD6IitJCHpDPMVH_IviHzAjD0ij0Z
    LY4X4BuO5r0LQS7rFhfGLMLRpLmPwOF567aUMXOBRgIEEDYUvDK-rXeFEryUlZLhyUgHciWK2nMWOmGh_TTfHqQxKwyHH0
    8l7JlKTbnBvkqDhYsZA-aimo7pCvKCWnRUHIEkw62dSIkU_cSyrCAX9MQ-EQulGvySpy8owol-52hutI0oaaL5-Y0JBOPD
    qUfANOK-RlClthwD_TkMqv2EKTQNnmbqlsqqE2jK531B29oavX6-2PNJBANg
  ]],
  ["SHA-1 instead"] = joined [[
    NS7NZ6X9nxPxiLIFML-8rW9pbSctSd2AUE3JEHnYmEhtMDtuYkEHTV5mmkQcVPrxCKmS1RS5HlTo05rj5jE65_vBm27K8g
    0GLoBg6xzSxVhw7PUQPH1epzSNKIZasCPokdpqsI8HXAq08bUXSE1RzOKIzXz1o0JLZ_itsoxxDwnDn2HCO78rJOVtNV0V
    qadZ2okX5XToTsi2QoIMh5ZtVmvsUM3jXebZrOEFDp5UAMJ7yGiQO0VSyPqwTKiadFjKNrGo_c6gTJPqUJyKTq27dS9Lm_
    z4zqVimUv7AACXjM71Ar0opTmBh3rUM8LxYk9_w28A3713mZbIXquCfpXVVg
  ]],
  ["PSS padding"] = joined [[
    XiP201b-2NRKkwHz-a_bVxVruW3VqjcySDd2BBdAte1XW7Npp1gjny4RFFTZLp70fbgsMkJON71ERut6tXrdshVEaWBNb2
    W2wpfhbrzhv4OGVMayBWgbQ_cbtjJOe9tkOvJCRV1Mf0FWoAxI1qmEb_WVM3cV50o2aDfPLj3h5VUqG6L6qeu0TttktYnn
    APvgyCy1CTW3JR4WvLx2Oruf4WvgimjvemuM8zCFyB8v7EbLkiDfliVQN-_vVo0HjmhyvrsTUahH-LKYfgJZNXTad66OgH
    lkfFvffRrhaAqUXMizc4lMw4IQNYF6d9r-bgCQRVZElG_0uQiZP5eQALBoTg
  ]],
  ["an HMAC by the public key"] = joined [[
    L_sr1DoG6Ib7lmZhC8dSlLXW1WJg0dBJNM0YuCu2AJM
  ]],
  ["no NULL after the algorithm"] = joined [[
    CRpOUWxyz2PyWy3OXNeVNJBO9huUbhj766SGWKaY0tbwbqGeunIUg67yjtBysCWXFfSvtA4M9nYgNvXo_m7_rf_EXKTM6k
    0A1IAd07qG9TiHVSsknPdDlTdr5VfhKMWtE5KVVxIzmjX8LmheDUIvEMoUP27mBJLkiY80bUn8NR6lb6eJTrk_p-wpFWZb
    8d6m6bDGbF3xYGIgq2WSAW3bOUxFZEW8OUVlhPTSzIAaJKnTj2P6B4zCQo5TmlLquxaq9xjR_WKkdaj-XCkehb8OOEjnrj
    rliZ8n5bjkvMW4mkDHiwhEfDpXwfIf36-NEBF9Oy9k7PfZAzqrqAlXJlUHrQ
  ]],
  ["a NULL with contents"] = joined [[
    ltTvj512oNsQv4ia0knFaIi11Zzvqy9DOkgO6_VT7FCq6d_2eN4gP0GUNtjTVq_73GJdiQkm9MyHcw0mIL_299rKonkzUW
    7UHNuMBWXbmijW1eOAWCuTo09GLnYhj-y8Es5SCAoPndvErFbmrZ2ye4mAy5hfw9gZWcFBRm1hdeqLM3f-ITkySgD43EJu
    n6R2PHU71b6w0P2oY8Hr9J570XPg93V1QWsiYHEDWf2-zdm_8JSfkxlmJW9WDvUBXD4QOrakylPQwWgRn2RFrbXzmxayLM
    -46845nDquErr1qtrF30ufJMV-l9bxXAL1CqT83WoLlEhEMGsUEzyWyPiGsg
  ]],
  ["a length in BER's long form"] = joined [[
    A707MxXcVWe-_KmGF443A_zYETshNfDsriVBDbgdRdQHFgrKkTUs8Dasit774xpk9ZlNcs1wU4Ltq0VYkt4nK65nqpDcYj
    dIPgvqtcIGPDqMTZ7bhfwDp8KlgzFgKANlpliokSQpVPRKaSoy423EvhE0A8-cmEii6g0-ECzYFwhW3RGca6s2paJBn4dT
    bq6kI_f_YoOYZtGmON_piuYJQQZ2xMqOElYuO5N1EVmx6oXeQ-qPnNpDIyS7S66XoxNt25lEl_1F-HFigaqbTpK15kaPIw
    vMzTMKe945iIWWCb1rLqIWl4XewAEkpXYHfPo_9EXq3c_axRSc-Xdg7LJ-lw
  ]],
  ["another algorithm's name"] = joined [[
    K-zxTkqLvoTNsNoTX1KQQcMIYkoYO1vwr54cwBMaCJknxHuLh-kEcPZEi5RXcir741eIYoGuQFVLdmef9CnQy31dTbe1Gr
    ZGuyREUo-axAi-rr5ab1hr_BuyLGnrN9CGlL_c6VN2XpRLf_MQnDpy4LY8xfQar8GcOfHuN5yogg91A-YSYgH9r37kly6y
    T6yzjr7h6TbfNoZgSwK-mfcS39IIYap08RNx71_SumCeyVincWSO9sIGov7xpXB2-FYelLFQJ_uexZ0Mo42zeBWeyv0_Yh
    7tbT0OVa39wceNLhEkXmHXQyNyXfhbJdiTNRp6P7DQc5Gm_epGAWkmTHkHqw
  ]],
  ["the digest alone"] = joined [[
    PBfLWvy0bEn-mznWd0GYWKQHhs7Fg6-80TTKG8YfuAG_w_DRcJUYFggtsEN19RVfOENG6ASETepLeX7hhE_--EYQDUgPl6
    GLVkR6MrjdUxivBxV1vRrcmXHzrm9_P_NneButpgLZOlthWPc3boVpXYkNp_xS41hJXw7-JaJNoH71Zp8_9UISgZc2p-H9
    2c0SAvAxAZm7_vizKeRTZ1QL3OTQTWLEbGoBo8f4lcgczYTeKost-ektZUiexWrI7KSCs9gTedXGss7NP2Lwp1z_r8F735
    jrOWBN435SxYYA40xm0Ip4NutOWupKBZQuwGCztQS03PYuFrwirbC0C9_-Rg
  ]],
  ["a byte after the digest"] = joined [[
    mI4IA7yxi_VjzxwH_ShBa1aVvw0R00D8QLhQNzAHYw68szD2fOkPcsUbphrfhidA2cJXze5J7PbevM5YJLIJ9MrWFrl_50
    vfGmI328WMxMuSSdMZlZLRhnLkS1sNq_E-LMXP-hlUHxtl-XgNt96kLAKS_nCUsubUDAoe2lvBeog496SKLZTvusBdoxdc
    aqbMy3MSpmQPOPA3_z2ITgGVG73xFmxazGSmbeeE94dMAVtxIz91dBGoxmlOZI0JTS24OmOdk714d3dWuK5TOiS5y-PhZQ
    n0m4k5QsqhGE3GnQByjngH-8XZCUdKbui-tlaSaDYvuRx_7E9IataBctXCyg
  ]],
  ["short padding and zeros after the digest"] = joined [[
    UxKHUIMBPI9WGLlFI-k9U_WB_aos-FVzo00EXY6Ypl90L1mhwc_SNNQoHs5ZDRuCOZO9_rj42lLgUkTFE_0q8fQk1P1KeN
    bQz6aX28h-TRfbGB2Dqd8UkpPGcPwwBe4R7f7momZBThnn3ygHPmwtsBo6wgpg3ejxKnj3f9p2AMPf9qr0xaKww0f1Ff4U
    9OTebVW5NFk1K6yBn5dKzLfqRw_S78doN1Ms4rHu6TeBdeFknTtme5Y2JsYAv9M35AxPE--LvXM0iKY2ImwK2G9UcVlPfz
    WXIdGK-PLvfNZtCC4DkqN0ug3KJzrXdjX2PSGVv7KiUq74wTYL2nyqR1mLXQ
  ]],
  ["block type 0"] = joined [[
    drzS_fFcoAQuM7G3tXZ2WITiRoRMjU8YivFfv1eZTx7V5TsV_gb7zBIxjghaJcT7Qo-cBRkEgd3A27IT91h-YTGQJoTzgu
    916tlGLksMeZJQzl1FaVuH_SWk7i9IdZEqq2oHP0PJ9uZIhC_3iAvsygvU4f4fUoFT8-XY-aTReCnOXgWJXItL0x2Nk_dZ
    ql97b6--0sqOm-jPKnyEVAQIPiOrMcZ1xRS7mkCt81Mnt0vL0fcDLPhVkKZnwPLyXMI9O-VqNKS0qnEfygnI_zfDh7HARP
    C49Il17PWntBZk67lWPtncDmIvIMUOX5ktvTRQYcxBtAWFtYgtwuNlquUMwA
  ]],
  ["block type 2"] = joined [[
    YU8eBdGY71xU1wTGXwml9r3q4kZvo4ifwprEItyafoLDzZJ5xhWLD1z2ffNk_rKQqjrzkGiykFStgvcs0JHu8ent0zYP1n
    myxoq5-ZkdzchxzhYhAekjWse7D4tfE7U-RX1zjICvAqVFaUZhx1L2yLD21UKjp_OEbtLXi6CA4uLh_lOrE983xWFD-kNT
    Ncv-MWwBW-9AxTLpwzWoHjycqdYYHy6B61GABh3nb3z_uyvYckz9Da5884r1oydddBKW9dkBEyxdERzgMnCPnVY2Wle617
    kSI9PeR0nmk8-nEzD0RSWNg-ZuIIW9wUp7YeMjXugCDKFsBbUJUngoRgHUgA
  ]],
  ["a hole in the padding"] = joined [[
    Qc9SF9CBIYCar0vB2QWncCR9dQD2lF-ZCNFcMQCmClgj8Ez4XrLRMdjuGi2SBX33YreNfNFsNGa5-sXEXugrqLMNVjQ5H_
    mfrpFi6y5FlrZ7sLW4a_Wctn7B3_YHtAgD8ACIIz_W1kUGNOwY1ZXPUfzR44LYdpDayGgJIWC5QSPO-08hq1FAeG-qc672
    -gg-ROKj59_77NPCjwBy05j7njIGHonVWjkc63sPylb0gq-l-VAOigI4sOdd-TtBDX9HBDfVaYoE3_MunIqsBhpDzSChpq
    vMHEHQJTZuDN7mqrAFGMwOQyltnZeJczlFSrKlx1cH0MpBnbmCOgboGGBvIQ
  ]],
}

-- Appendix A.2 of RFC 7515.
vectors.rfc7515 = {
  n = joined [[
    ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4
    QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdb
    BYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-D
    WNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ
  ]],
  e = "AQAB",
  signed = joined [[
    eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvb
    S9pc19yb290Ijp0cnVlfQ
  ]],
  signature = joined [[
    cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5ju
    jGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07
    Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipU
    TI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw
  ]],
}

return vectors
